"""What a pickle says about an array, checked in Python before any of it reaches NumPy."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from flowkit.data.inert_pickle import ForbiddenError, Global

_NDARRAY = "numpy.ndarray"
_CODES = frozenset(["b1", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"])
_ORDERS = ("<", ">", "|", "=")
_MOST_AXES = 4


class PickledType:
    """A dtype of numbers: one of NumPy's codes and a byte order."""

    def __init__(self, code: Any, align: Any = False, copy: Any = False):
        self.code = code.decode("latin-1") if isinstance(code, bytes) else code
        if not isinstance(self.code, str) or self.code not in _CODES:
            raise ForbiddenError(f"an array of dtype {str(self.code)[:20]}")
        self.order = "="

    def set_state(self, state: Any) -> None:
        """The byte order. A subarray, names, fields or another size would tell NumPy lies about its buffer."""
        order = state[1] if isinstance(state, tuple) and len(state) == 8 else None
        order = order.decode("latin-1") if isinstance(order, bytes) else order
        if order not in _ORDERS or state != (3, state[1], None, None, None, -1, -1, 0):
            raise ForbiddenError("a dtype that is more than a byte order")
        self.order = order

    def to_numpy(self) -> np.dtype:
        return np.dtype(self.code).newbyteorder(self.order)


class PickledArray:
    """An array's bytes and what they mean, as the pickle states it."""

    def __init__(self):
        self._parts = None

    def set_state(self, state: Any) -> None:
        """How protocols up to 4 fill an array: (version, shape, dtype, Fortran order, bytes)."""
        if not isinstance(state, tuple) or len(state) != 5 or state[0] != 1:
            raise ForbiddenError("an array of another form")
        _, shape, dtype, fortran, raw = state
        self._fill(raw, dtype, shape, "F" if fortran is True or fortran == 1 else "C", None)

    def _fill(self, raw, dtype, shape, order, axes):
        if self._parts is not None or not isinstance(dtype, PickledType):
            raise ForbiddenError("an array of another form")
        if not isinstance(raw, bytes | bytearray):
            raise ForbiddenError(f"an array made of {type(raw).__name__}")
        if not isinstance(shape, tuple) or len(shape) > _MOST_AXES or not all(map(_positive, shape)):
            raise ValueError("an array without a shape of positive numbers")
        if order not in ("C", "F", "K"):
            raise ValueError("an array of an unknown order")
        if axes is not None and not (
            isinstance(axes, tuple)
            and all(type(axis) is int for axis in axes)
            and sorted(axes) == list(range(len(shape)))
        ):
            raise ValueError("axes that are no permutation")
        self._parts = raw, dtype, shape, order, axes

    def to_numpy(self) -> np.ndarray:
        """The array, in memory of its own. ValueError unless the bytes are exactly those of its shape."""
        if self._parts is None:
            raise ValueError("an array without contents")
        raw, dtype, shape, order, axes = self._parts
        dtype = dtype.to_numpy()
        count = math.prod(shape)
        if count * dtype.itemsize != len(raw):
            raise ValueError(f"{len(raw):,} bytes for an array of shape {shape} and dtype {dtype}")
        array = np.frombuffer(raw, dtype, count).reshape(shape, order="F" if order == "F" else "C")
        return np.array(array if axes is None else array.transpose(axes), order="C")


def _positive(side):
    return type(side) is int and side > 0


def _reconstruct(subtype, shape, code):
    """The array that a state will fill. The shape and code here are those of an empty one, whatever they say."""
    if subtype != Global(_NDARRAY):
        raise ForbiddenError("an array of another class")
    return PickledArray()


def _frombuffer(raw, dtype, shape, order, axes=None):
    """How protocol 5 stores an array."""
    array = PickledArray()
    array._fill(raw, dtype, shape, order, axes)
    return array


class _Encode:
    """How Python 3 writes bytes into an old pickle.

    Other codecs could decompress a bomb, and so could one text that is encoded again and again: in all it may give as
    many bytes as the file has.
    """

    def __init__(self, size):
        self._left = size

    def __call__(self, text: Any, encoding: Any = "latin1") -> bytes:
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1", b"latin1"):
            raise ForbiddenError(f"the codec {str(encoding)[:20]!r}")
        self._left -= len(text)
        if self._left < 0:
            raise ValueError("more bytes than the file has")
        return text.encode("latin-1")


def _bytes():
    """How Python 3 writes no bytes at all into an old pickle."""
    return b""


_CALLS = {
    _NDARRAY: None,
    "numpy.dtype": PickledType,
    "numpy.core.multiarray._reconstruct": _reconstruct,
    "numpy._core.multiarray._reconstruct": _reconstruct,
    "numpy.core.numeric._frombuffer": _frombuffer,
    "numpy._core.numeric._frombuffer": _frombuffer,
    "builtins.bytes": _bytes,
    "__builtin__.bytes": _bytes,
}


def stand_ins(size: int) -> dict[str, Callable | None]:
    """ "module.name" -> what stands in for a call of it, in one pickle of `size` bytes."""
    return {**_CALLS, "_codecs.encode": _Encode(size)}
