"""Event shapes: axis 0 is the batch, all other axes are the event."""

from typing import Any

from keras import ops, tree

from flowkit.contract.errors import ContractError


def sum_event(x: Any) -> Any:
    """Sum over all axes but the first: one number for each sample, shape (batch,).

    >>> sum_event(ops.ones((2, 3, 4))).shape[0]
    2
    """
    axes = tuple(range(1, len(x.shape)))
    return ops.sum(x, axis=axes) if axes else x


def event_size(shape):
    """The number of entries of one event of a (batch, *event) shape; None if an axis is unknown."""
    size = 1
    for n in shape[1:]:
        if n is None:
            return None
        size *= n
    return size


def as_tuple(shape):
    """A shape as a tuple of int and None, whatever the engine calls it."""
    return tuple(None if n is None else int(n) for n in shape)


def context_shape(context):
    """The shape of a context, or the dict of shapes of a dict of tensors; None for none."""
    if context is None:
        return None
    return tree.map_structure(lambda t: as_tuple(ops.shape(t)), context)


def check_shape(bijector, shape, *, rank, multiple, built=None):
    """Raise if a (batch, *event) `shape` is not one that `bijector` can take.

    `rank` and `multiple` are the spec's; `built` is the shape that the weights were made for.
    """
    shape = as_tuple(shape)
    event = shape[1:]
    ranks = (rank,) if isinstance(rank, int) else rank
    allowed = len(event) >= 1 if ranks is None else len(event) in ranks
    if not allowed:
        wanted = "at least 1" if ranks is None else " or ".join(map(str, ranks))
        raise ContractError(
            "event rank",
            bijector,
            expected=f"(batch, *event) with an event of rank {wanted}",
            received=f"shape {shape}",
            hint="The first axis is always the batch.",
        )
    for axis, (n, m) in enumerate(zip(event, multiple or (), strict=False), start=1):
        if n is not None and n % m:
            raise ContractError(
                "event shape",
                bijector,
                expected=f"axis {axis} to be a multiple of {m}",
                received=f"{n} in shape {shape}",
                hint=f"Crop, pad or resize that axis to {n - n % m or m} or {n + m - n % m}.",
            )
    if built is not None:
        differ = len(built) != len(shape) or any(
            n is not None and b is not None and n != b for n, b in zip(event, built[1:], strict=True)
        )
        if differ:
            raise ContractError(
                "event shape",
                bijector,
                expected=f"an event of shape {built[1:]}, which its weights were made for",
                received=f"shape {shape}",
            )
