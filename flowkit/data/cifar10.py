"""CIFAR-10 in its Python form: pickled batches, read without trusting them."""

import codecs
import pickle
from pathlib import Path

import numpy as np

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


def load_cifar10(folder, split):
    """50,000 train or 10,000 test images, `(n, 32, 32, 3)` uint8, and their labels.

    Raises:
        FileNotFoundError: where one of the split's files is missing.
        ValueError: where a file is damaged, or holds anything but arrays, numbers and text.
    """
    images, labels = [], []
    for name in _FILES[split]:
        path = Path(folder) / name
        if not path.is_file():
            raise FileNotFoundError(
                f"{path}: expected this file of CIFAR-10's Python version, found none. Unpack "
                "cifar-10-python.tar.gz again."
            )
        part, part_labels = _read_batch(path)
        images.append(part)
        labels.append(part_labels)
    return np.concatenate(images), np.concatenate(labels)


def _read_batch(path):
    try:
        with open(path, "rb") as file:
            batch = _ArraysOnly(file, encoding="bytes").load()
    except _ForbiddenError as error:
        raise ValueError(
            f"{path}: expected only arrays, numbers and text, received a pickle that asks for "
            f"{error}, which flowkit does not load since it can run any code. Fetch the file again "
            "from a source you trust."
        ) from None
    except Exception as error:  # a damaged pickle fails in as many ways as there are opcodes
        raise ValueError(
            f"{path}: expected a CIFAR-10 batch, received a file that can't be unpickled "
            f"({type(error).__name__}). Fetch it again."
        ) from None
    batch = batch if isinstance(batch, dict) else {}
    data = batch.get(b"data", batch.get("data"))
    labels = batch.get(b"labels", batch.get("labels"))
    if (
        not isinstance(data, np.ndarray)
        or data.dtype != np.uint8
        or data.ndim != 2
        or data.shape[1] != 3072
        or labels is None
    ):
        keys = ", ".join(k.decode() if isinstance(k, bytes) else str(k) for k in batch)
        raise ValueError(
            f"{path}: expected `data`, uint8 of shape (n, 3072), and `labels`, received "
            f"{f'keys {keys}' if keys else 'something else'}. Check that this is CIFAR-10 (not "
            "CIFAR-100) in its Python version."
        )
    images = data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return images, validate_labels(labels, len(images), name=str(path))


class _ForbiddenError(Exception):
    """The pickle asks for something other than an array's parts."""


class _ArraysOnly(pickle.Unpickler):
    """An Unpickler that can build arrays and builtin containers, and nothing else."""

    def find_class(self, module, name):
        if module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            if name == "_reconstruct":
                return _reconstruct
        elif module in ("numpy.core.numeric", "numpy._core.numeric"):
            if name == "_frombuffer":
                return _frombuffer
        elif module == "numpy" and name == "ndarray":
            return np.ndarray
        elif module == "numpy" and name == "dtype":
            return _plain_dtype
        elif module == "_codecs" and name == "encode":
            return _encode
        raise _ForbiddenError(f"{module}.{name}")


def _reconstruct(subtype, shape, dtype):
    """The empty array that unpickling fills."""
    if subtype is not np.ndarray:
        raise _ForbiddenError(f"an array of type {subtype}")
    return np.ndarray.__new__(np.ndarray, shape, dtype)


def _frombuffer(buffer, dtype, shape, order, axes=None):
    """How protocol 5 stores a contiguous array."""
    array = np.frombuffer(buffer, dtype)
    if order == "K" and axes is not None:
        return array.reshape(shape, order="C").transpose(axes)
    return array.reshape(shape, order=order)


def _plain_dtype(code, *flags):
    """A dtype of numbers: object arrays would hold whatever the file says."""
    dtype = np.dtype(code.decode() if isinstance(code, bytes) else code)
    if dtype.kind not in "biuf":
        raise _ForbiddenError(f"an array of dtype {dtype}")
    # `align` and `copy`, as pickled dtypes pass them; a copy, since its state is then set.
    return np.dtype(dtype, copy=True) if flags else dtype


def _encode(text, encoding="latin1"):
    """How Python 3 writes bytes into an old pickle. Other codecs could decompress a bomb."""
    if encoding not in ("latin1", "latin-1", b"latin1"):
        raise _ForbiddenError(f"the codec {encoding!r}")
    return codecs.latin_1_encode(text)[0]
