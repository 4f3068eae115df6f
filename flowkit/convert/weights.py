"""The weights of another implementation, each taken by its name and shape."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from flowkit.convert.files import arrays_of

Shape = tuple[int | None, ...]


class Weights:
    """Names and arrays of a file or a state dict.

    A port takes each array that it converts, and in the end refuses what is left: so no weight is lost in silence.

    >>> weights = Weights({"first.weight": np.ones((2, 3)), "first.bias": np.ones(2)})
    >>> weights.take("first.weight", (None, 3)).shape
    (2, 3)
    >>> weights.take("first.bias", (3,))
    Traceback (most recent call last):
    ValueError: first.bias has shape (2,), expected (3,)
    >>> weights.refuse_rest()
    Traceback (most recent call last):
    ValueError: first.bias of shape (2,) is not part of this model
    """

    def __init__(self, variables: Any) -> None:
        self.arrays = arrays_of(variables)
        self._left = dict.fromkeys(self.arrays)

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def first(self, prefix: str = "") -> str | None:
        """Return the first name that begins with `prefix`, or None."""
        return next((name for name in self if name.startswith(prefix)), None)

    def take(self, name: str, shape: Shape) -> np.ndarray:
        """Return an array. Raise ValueError if it is missing, of another shape, or not of finite numbers.

        None in `shape` stands for any length.
        """
        if name not in self.arrays:
            raise ValueError(f"{name} is missing, expected shape {shape}")
        array = self.arrays[name]
        same = all(size in (None, own) for size, own in zip(shape, array.shape, strict=False))
        if array.ndim != len(shape) or not same:
            raise ValueError(f"{name} has shape {array.shape}, expected {shape}")
        if array.dtype.kind not in "fiub":
            raise ValueError(f"{name} holds {array.dtype}, expected numbers")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} holds NaN or infinity, expected finite numbers")
        self._left.pop(name, None)
        return array

    def network(
        self, layers: Sequence[str], inputs: int | None, entries: int | None, *kinds: str
    ) -> list[list[np.ndarray]]:
        """Return the kernels and the biases of linear layers that follow each other, and lists of further `kinds`.

        The number of outputs is a multiple of `entries`; those of a masked network as many as its inputs, if None.
        """
        found: list[list[np.ndarray]] = [[] for _ in ("kernels", "biases", *kinds)]
        for layer in layers:
            kernel = self.take(f"{layer}.weight", (None, inputs))
            inputs = len(kernel)
            bias = self.take(f"{layer}.bias", (inputs,))
            more = [self.take(f"{layer}.{kind}", kernel.shape) for kind in kinds]
            for column, array in zip(found, [kernel, bias, *more], strict=True):
                column.append(array)
        entries = found[0][0].shape[1] if entries is None else entries
        if inputs is None or inputs % entries or not inputs:
            raise ValueError(
                f"{layers[-1]}: expected as many outputs for each of {entries} entries, received {inputs}"
            )
        return found

    def numbers(self, prefix: str, *, gaps: bool = False) -> list[int]:
        """Return the numbers that follow `prefix` in names, sorted.

        Raise ValueError for a gap unless `gaps`: a layer without weights is in no state dict, and could be any map.
        """
        pattern = re.compile(re.escape(prefix) + r"(\d+)\.")
        found = {int(match[1]) for name in self if (match := pattern.match(name))}
        missing = set(range(max(found, default=0))) - found
        if missing and not gaps:
            raise ValueError(
                f"{prefix}{min(missing)}: expected its weights, received none. A layer without weights does not convert"
            )
        return sorted(found)

    def refuse_rest(self) -> None:
        """Raise ValueError if an array was not taken."""
        for name in self._left:
            raise ValueError(f"{name} of shape {self.arrays[name].shape} is not part of this model")
