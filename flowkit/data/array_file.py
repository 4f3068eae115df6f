"""Images in NumPy's own files, .npy and .npz."""

import math
from pathlib import Path

import numpy as np

from flowkit.data.bounded import MAX_BYTES, check_shape
from flowkit.data.lazy_images import LazyImages, rows_of
from flowkit.data.npy_file import map_npy
from flowkit.data.npz_file import NpzFile
from flowkit.data.split import split_rows
from flowkit.data.validate import validate_images, validate_labels, with_channels

# Which names are understood: (images, labels) of train and of test, or of a whole that is split 90/10.
_FAMILIES = (
    (("train_images", "train_labels"), ("test_images", "test_labels")),
    (("x_train", "y_train"), ("x_test", "y_test")),
    (("images", "labels"),),
    (("x", "y"),),
    (("arr_0", "arr_1"),),
)


def load_npy(
    path: str | Path, split: str, max_bytes: int = MAX_BYTES, in_memory: bool = True
) -> tuple[np.ndarray | LazyImages, None]:
    """A 90/10 split of the images in one .npy file; no labels.

    Not `in_memory`: rows of uint8 stay in the file until they are asked for. Other numbers have to be looked at first.
    """
    path = Path(path)
    # Mapped, so that of a large file only the rows of the split are read.
    whole = map_npy(path, max_bytes if in_memory else math.inf)
    if whole.ndim == 0:
        raise ValueError(f"{path}: expected one array of images, received a scalar. Save it with np.save.")
    lazy = whole.dtype == np.uint8 and not in_memory
    check_shape(whole.shape[:1] if lazy else whole.shape, whole.itemsize, max_bytes, str(path))
    rows = split_rows(len(whole), split, path)
    if lazy:
        return rows_of(with_channels(whole, str(path)), rows), None
    return validate_images(whole[rows], name=str(path)), None


def load_npz(
    path: str | Path, split: str, key: str | None = None, max_bytes: int = MAX_BYTES, in_memory: bool = True
) -> tuple[np.ndarray | LazyImages, np.ndarray | None]:
    """Images and labels (or None) of one split of an .npz file; `key` says which, if it holds several.

    A `key` of another name than those above is an array of images without labels. Not `in_memory`: rows of uint8 stay
    in the file until they are asked for, if they are not packed, as `np.savez` leaves them.
    """
    with NpzFile(path, max_bytes) as arrays:
        return _from_arrays(arrays, Path(path), split, key, max_bytes, in_memory)


def _from_arrays(arrays, path, split, key, max_bytes, in_memory):
    family = _family(arrays, path, key)
    whole = len(family) == 1
    images_key, labels_key = family[0 if whole or split == "train" else 1]
    if images_key not in arrays:  # a missing split must not be cut out of the other one
        wanted = [images for images, _ in family]
        raise ValueError(
            f"{path}: expected {' and '.join(wanted)}, received only "
            f"{wanted[0] if images_key == wanted[1] else wanted[1]}. Store both, or store one array "
            "named images for a 90/10 split."
        )
    name = f"{path}[{images_key}]"
    mapped = None if in_memory else arrays.mapped(images_key, math.inf)
    lazy = mapped is not None and mapped.dtype == np.uint8
    if lazy:
        check_shape(mapped.shape[:1], 1, max_bytes, name)
        images = with_channels(mapped, name)
    else:
        images = validate_images(arrays[images_key], name=name)
    labels = _labels(arrays, labels_key, len(images), path)
    rows = split_rows(len(images), split, path) if whole else None
    if rows is not None and labels is not None:
        labels = labels[rows]
    if lazy:
        return rows_of(images, rows), labels
    return images if rows is None else images[rows], labels


def _family(arrays, path, key):
    """The one family of arrays that is there, or the one that `key` belongs to."""
    there = [family for family in _FAMILIES if any(images in arrays for images, _ in family)]
    if key is not None:
        if key not in arrays:
            raise ValueError(
                f"{path}: expected an array named {key}, received {', '.join(arrays.files) or 'none'}."
            )
        chosen = [family for family in there if any(key == images for images, _ in family)]
        return chosen[0] if chosen else ((key, None),)
    if len(there) == 1:
        return there[0]
    example = there[-1][0][0] if there else next(iter(arrays.files), "images")
    if there:
        names = " and ".join(images for family in there for images, _ in family if images in arrays)
        raise ValueError(
            f"{path}: expected images under one name, received {names}. Choose by name: {path}:{example}"
        )
    raise ValueError(
        f"{path}: expected arrays named train_images and test_images, x_train and x_test, or "
        f"images, received {', '.join(arrays.files) or 'none'}. Rename them with np.savez, or give the "
        f"name: {path}:{example}"
    )


def _labels(arrays, key, count, path):
    if key not in arrays:
        return None
    return validate_labels(arrays[key], count, name=f"{path}[{key}]")
