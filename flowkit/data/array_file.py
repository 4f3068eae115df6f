"""Images in NumPy's own files, .npy and .npz."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from flowkit.data.split import split_rows
from flowkit.data.validate import validate_images, validate_labels

# Which names are understood: (images, labels) of train and of test, or of a whole that is split 90/10.
_FAMILIES = (
    (("train_images", "train_labels"), ("test_images", "test_labels")),
    (("x_train", "y_train"), ("x_test", "y_test")),
    (("images", "labels"),),
    (("x", "y"),),
    (("arr_0", "arr_1"),),
)


def load_npy(path, split):
    """A 90/10 split of the images in one .npy file; no labels."""
    path = Path(path)
    try:
        # Mapped, so that of a large file only the rows of the split are read.
        whole = np.load(path, allow_pickle=False, mmap_mode="r")
    except (ValueError, EOFError, OSError) as error:
        raise _unreadable(path, error) from None
    if not isinstance(whole, np.ndarray) or whole.ndim == 0:
        raise ValueError(
            f"{path}: expected one array of images, received a "
            f"{'scalar' if isinstance(whole, np.ndarray) else 'zip file'}. Save it with np.save."
        )
    rows = split_rows(len(whole), split, path)
    return validate_images(whole[rows], name=str(path)), None


def load_npz(path, split, key=None):
    """Images and labels (or None) of one split of an .npz file; `key` chooses where it holds several.

    A `key` of another name than those above is an array of images without labels.
    """
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return _from_arrays(arrays, path, split, key)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, AttributeError) as error:
        raise _unreadable(path, error) from None


def _from_arrays(arrays, path, split, key):
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
    images = validate_images(_array(arrays, images_key, path), name=f"{path}[{images_key}]")
    labels = _labels(arrays, labels_key, len(images), path)
    if not whole:
        return images, labels
    rows = split_rows(len(images), split, path)
    return images[rows], None if labels is None else labels[rows]


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
    return validate_labels(_array(arrays, key, path), count, name=f"{path}[{key}]")


def _array(arrays, key, path):
    try:
        return arrays[key]
    except ValueError as error:
        raise _unreadable(f"{path}[{key}]", error) from None


def _unreadable(path, error):
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    reason = reason.splitlines()[0]
    if "pickle" in reason.lower() or "Python objects" in reason:
        return ValueError(
            f"{path}: expected plain numbers, received pickled Python objects or no NumPy file at "
            "all, which flowkit does not load since unpickling can run any code. Save a uint8 "
            "array with np.save or np.savez."
        )
    return ValueError(
        f"{path}: expected a NumPy file, received one that can't be read ({reason}). "
        "Save it again with np.save or np.savez."
    )
