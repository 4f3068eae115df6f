"""Hashes of data: one of all bytes, to compare with others, and a quick one, to see whether a run has its own data."""

import hashlib
from typing import Any

import numpy as np

from flowkit.data.dataset import Dataset, as_rows, blocks
from flowkit.data.table import Table

_MOST_BYTES = 2**28  # of an array that `fingerprint` reads: a quarter of a second, also of a file of many GB


def content_hash(*splits: Dataset | Table) -> str:
    """Return the SHA-256 of the splits, in order, as 64 hexadecimal digits.

    It depends on what a model sees: types, shapes and values of images with their labels, or of a table with the names
    of its columns. It does not depend on the file: the same images as PNG and as an array have one sum. All bytes are
    read, so that others can compare it.

    >>> import numpy as np
    >>> content_hash(Dataset(np.zeros((1, 2, 2, 1), "uint8"), None, levels=256, name="a"))[:8]
    '16224fcd'
    """
    digest = hashlib.sha256()
    for split in splits:
        tabular = isinstance(split, Table)
        said: list[Any] = [split.names if tabular else split.levels]
        arrays: list[Any] = [split.values] if tabular else [split.images, split.labels]
        for array in arrays:
            if array is not None:
                little = np.dtype(array.dtype).newbyteorder("<")  # on any machine
                said += [little.str, array.shape]
                for block in blocks(array):
                    digest.update(np.ascontiguousarray(block, little).data)
        digest.update(repr(said).encode())
    return digest.hexdigest()


def fingerprint(*arrays: Any) -> str:
    """Return 32 hexadecimal digits that follow from the shapes, the types and the entries of numpy arrays.

    Of arrays beyond 256 MB, rows in equal distances are read, the first and the last among them: enough to see that a
    run would go on with other data.

    >>> x = np.arange(6.0).reshape(3, 2)
    >>> fingerprint(x) == fingerprint(x.copy()), fingerprint(x) == fingerprint(x + 1)
    (True, False)
    """
    digest = hashlib.blake2b(digest_size=16)
    for array in map(as_rows, arrays):
        digest.update(f"{array.dtype.str} {array.shape} ".encode())
        count = min(len(array), max(2, _MOST_BYTES * len(array) // max(1, array.nbytes)))
        rows = np.linspace(0, len(array) - 1, count).astype("int64")
        digest.update(np.ascontiguousarray(array[rows]).data)
    return digest.hexdigest()
