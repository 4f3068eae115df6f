"""Some columns of a tensor, and columns put together again."""

from collections.abc import Iterable, Sequence
from typing import Any

from keras import ops


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
    parts = [x[..., start:stop] for start, stop in runs]
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
