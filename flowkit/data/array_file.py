"""Images in NumPy's own files, .npy and .npz."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from flowkit.data.split import split_rows
from flowkit.data.validate import validate_images, validate_labels

# Which names are understood, in the order of preference: images, then their labels.
_SPLIT_KEYS = (("{}_images", "{}_labels"), ("x_{}", "y_{}"))
_WHOLE_KEYS = (("images", "labels"), ("x", "y"), ("arr_0", "arr_1"))


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


def load_npz(path, split):
    """Images and labels (or None) of one split of an .npz file."""
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return _from_arrays(arrays, path, split)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, AttributeError) as error:
        raise _unreadable(path, error) from None


def _from_arrays(arrays, path, split):
    for images_key, labels_key in _SPLIT_KEYS:
        # Both must be there: a missing split must not be cut out of the other one.
        keys = [images_key.format(part) for part in ("train", "test")]
        if keys[0] in arrays or keys[1] in arrays:
            key = images_key.format(split)
            if key not in arrays:
                raise ValueError(
                    f"{path}: expected {keys[0]} and {keys[1]}, received only "
                    f"{keys[0] if keys[0] in arrays else keys[1]}. Store both, or store one array "
                    "named images for a 90/10 split."
                )
            images = validate_images(_array(arrays, key, path), name=f"{path}[{key}]")
            return images, _labels(arrays, labels_key.format(split), len(images), path)
    for images_key, labels_key in _WHOLE_KEYS:
        if images_key in arrays:
            name = f"{path}[{images_key}]"
            images = validate_images(_array(arrays, images_key, path), name=name)
            labels = _labels(arrays, labels_key, len(images), path)
            rows = split_rows(len(images), split, path)
            return images[rows], None if labels is None else labels[rows]
    raise ValueError(
        f"{path}: expected arrays named train_images and test_images, x_train and x_test, or "
        f"images, received {', '.join(arrays.files) or 'none'}. Rename them with np.savez."
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
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
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
