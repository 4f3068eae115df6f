"""Some columns of a tensor, columns put together again, and the error for a column that a layer cannot take."""

from collections.abc import Iterable, Sequence
from typing import Any

from keras import ops

from flowkit.contract.errors import ContractError, shape_error


def check_count(layer: Any, x_shape: Sequence[Any], reason: str) -> None:
    """Raise ContractError unless data of `x_shape` have as many columns as `layer.columns`."""
    if x_shape[-1] != len(layer.columns):
        raise shape_error(layer, f"{len(layer.columns)} columns, {reason}", x_shape)


def pick(x: Any, places: Sequence[int]) -> Any:
    """Return the entries of the last axis at `places`, in their order.

    By slices, one for each run of neighbours: a list of indices would be copied to the device in each call.

    >>> x = ops.convert_to_tensor([[10.0, 11.0, 12.0, 13.0]])
    >>> ops.convert_to_numpy(pick(x, [1, 2, 0])).tolist()
    [[11.0, 12.0, 10.0]]
    """
    runs: list[list[int]] = []
    for place in places:
        if runs and place == runs[-1][1]:
            runs[-1][1] += 1
        else:
            runs.append([place, place + 1])
    if runs == [[0, x.shape[-1]]]:
        return x
    parts = [x[..., start:stop] for start, stop in runs or [[0, 0]]]
    return parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=-1)


def join(parts: Iterable[Any], groups: Iterable[Sequence[int]]) -> Any:
    """Return the tensor whose columns at `groups[i]` are `parts[i]`; together the groups are all places.

    >>> a, b = ops.convert_to_tensor([[10.0, 12.0]]), ops.convert_to_tensor([[11.0]])
    >>> ops.convert_to_numpy(join([a, b], [[0, 2], [1]])).tolist()
    [[10.0, 11.0, 12.0]]
    """
    places = [place for group in groups for place in group]
    parts = list(parts)
    together = parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=-1)
    return pick(together, sorted(range(len(places)), key=places.__getitem__))


def column_name(index: int, names: Sequence[Any] | None = None) -> str:
    """Return a column's name for an error, or its place without names.

    >>> column_name(1), column_name(1, ["age", "height"])
    ('column 1', "column 'height'")
    """
    return f"column {index}" if names is None else f"column {names[index]!r}"


class ColumnError(ContractError):
    """Error for a column that a layer cannot take: its place (`column`), and the reason (`fault`).

    A layer knows a column by its place. A flow that was fitted on a frame raises `named` instead.

    >>> raise ColumnError("adapt", "standardize", 1, "a constant", expected="columns that vary").named(["age", "sex"])
    Traceback (most recent call last):
    flowkit.contract.columns.ColumnError: standardize broke 'adapt': expected columns that vary, received column 'sex': a constant.
    """  # noqa: E501, a message of one line

    def __init__(self, clause: str, bijector: Any, column: int, fault: str, **more: Any) -> None:
        self.column, self.fault = column, fault
        super().__init__(clause, bijector, received=f"{column_name(column)}: {fault}", **more)

    def named(self, names: Sequence[Any] | None) -> "ColumnError":
        """Put the name of the column in place of its number, and return the error."""
        self.args = (str(self).replace(column_name(self.column), column_name(self.column, names), 1),)
        return self
