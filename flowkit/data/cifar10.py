"""CIFAR-10 in its Python form: pickled batches, read without trusting them."""

from pathlib import Path

import numpy as np

from flowkit.data.bounded import MAX_BYTES, Cautious, check_bytes
from flowkit.data.inert_pickle import ForbiddenError, read_pickle
from flowkit.data.pickled_array import PickledArray, stand_ins
from flowkit.data.validate import validate_labels

CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)

_FILES = {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)}
_INSIDE = "cifar-10-batches-py"  # what the archive unpacks to


def find_cifar10(folder):
    """The folder that holds the batches: `folder` itself or the archive's one in it; or None."""
    for place in (Path(folder), Path(folder) / _INSIDE):
        if any((place / name).is_file() for names in _FILES.values() for name in names):
            return place
    return None


def load_cifar10(folder: str | Path, split: str, max_bytes: int = MAX_BYTES) -> tuple[np.ndarray, np.ndarray]:
    """50,000 train or 10,000 test images, `(n, 32, 32, 3)` uint8, and their labels.

    Raises:
        FileNotFoundError: if one of the split's files is missing.
        ValueError: if a file is damaged, holds anything but arrays, numbers and text, or is larger than a
            quarter of `max_bytes`, or the split is larger than `max_bytes`.
    """
    paths = [Path(folder) / name for name in _FILES[split]]
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(
                f"{path}: expected this file of CIFAR-10's Python version, found none. Unpack "
                "cifar-10-python.tar.gz again."
            )
        # Text can take four times its bytes in memory.
        check_bytes(4 * path.stat().st_size, max_bytes, str(path))
    total = sum(path.stat().st_size for path in paths)
    check_bytes(total, max_bytes, str(folder))
    images, labels, count = np.empty((total // 3072, 32, 32, 3), np.uint8), [], 0
    for path in paths:
        part, part_labels = _read_batch(path)
        images[count : count + len(part)] = part
        count += len(part)
        labels.append(part_labels)
    return images[:count], np.concatenate(labels)


def _read_batch(path):
    try:
        with open(path, "rb") as file:
            size = path.stat().st_size
            batch = read_pickle(Cautious(file, size), stand_ins(size))
        batch = batch if isinstance(batch, dict) else {}
        data, labels = _array(batch, "data"), _array(batch, "labels")
    except ForbiddenError as error:
        raise ValueError(
            f"{path}: expected only arrays, numbers and text, received a pickle that asks for "
            f"{_short(error)}, which flowkit does not load since it can run any code. Fetch the file again "
            "from a source you trust."
        ) from None
    except (ValueError, OSError) as error:
        raise ValueError(
            f"{path}: expected a CIFAR-10 batch, received a file that can't be unpickled "
            f"({_short(error)}). Fetch it again."
        ) from None
    if (
        not isinstance(data, np.ndarray)
        or data.dtype != np.uint8
        or data.ndim != 2
        or data.shape[1] != 3072
        or labels is None
    ):
        keys = _short(", ".join(_text(key) for key in batch))
        raise ValueError(
            f"{path}: expected `data`, uint8 of shape (n, 3072), and `labels`, received "
            f"{f'keys {keys}' if keys else 'something else'}. Check that this is CIFAR-10 (not "
            "CIFAR-100) in its Python version."
        )
    images = data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return images, validate_labels(labels, len(images), name=str(path))


def _array(batch, key):
    """An array, or a list of whole numbers as one; None for whatever else is there."""
    found = batch.get(key.encode(), batch.get(key))
    if isinstance(found, PickledArray):
        return found.to_numpy()
    # A list of lists may hold itself, or more numbers than any memory.
    if isinstance(found, list) and all(type(number) is int and abs(number) < 2**63 for number in found):
        return np.array(found, np.int64)
    return None


def _text(key):
    if isinstance(key, int):
        return "a number"  # it may have more digits than Python prints
    return key.decode("latin-1") if isinstance(key, bytes) else key


def _short(reason):
    """One line that can be printed anywhere, whatever the file put into it."""
    lines = str(reason).splitlines() or [""]
    return lines[0][:100].encode("ascii", "backslashreplace").decode()
