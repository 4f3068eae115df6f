"""Which data it was: one number for the arrays that a run was given."""

import hashlib

import numpy as np

from flowkit.data.dataset import Dataset
from flowkit.data.lazy_images import LazyImages, blocks
from flowkit.data.table import Table


def content_hash(*splits: Dataset | Table) -> str:
    """The SHA-256 of the splits, in order, as 64 hexadecimal digits.

    What counts is what a model sees: types, shapes and values of images with their labels, or of a table with the names
    of its columns. The file that they came from does not: the same images as PNG and as an array have one sum. All
    bytes are read, so that others can compare it. To see whether a run goes on with its own arrays,
    `Batches.fingerprint` is quicker.

    >>> import numpy as np
    >>> content_hash(Dataset(np.zeros((1, 2, 2, 1), "uint8"), None, levels=256, name="a"))[:8]
    '16224fcd'
    """
    digest = hashlib.sha256()
    for split in splits:
        said: list[object]
        arrays: list[np.ndarray | LazyImages | None]
        if isinstance(split, Table):
            said, arrays = [split.names], [split.values]
        else:
            said, arrays = [split.levels], [split.images, split.labels]
        for array in arrays:
            if array is not None:
                little = np.dtype(array.dtype).newbyteorder("<")  # on any machine
                said += [little.str, array.shape]
                for block in blocks(array):
                    digest.update(np.ascontiguousarray(block, little).data)
        digest.update(repr(said).encode())
    return digest.hexdigest()
