"""Many images in one file or a few: NumPy's, IDX as of MNIST, CIFAR-10's binary version, Hugging Face's parquet."""

import gzip
import io
import itertools
import math
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from flowkit.data.bounded import FileError, NpzFile, check_bytes, open_file, reading
from flowkit.data.dataset import Dataset
from flowkit.data.frame_file import read_parquet
from flowkit.data.image_file import stack_images
from flowkit.data.validate import validate_labels

# Names of images and labels: those of train and of test, or of a whole that is split 90/10.
_NPZ_LABELS = {
    "train_images": "train_labels",
    "test_images": "test_labels",
    "x_train": "y_train",
    "x_test": "y_test",
    "images": "labels",
    "x": "y",
    "arr_0": "arr_1",
}
_NPZ_FAMILIES = (("train_images", "test_images"), ("x_train", "x_test"), ("images",), ("x",), ("arr_0",))

_UNSIGNED = b"\0\0\x08"
_PREFIX = {"train": "train", "test": "t10k"}

_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_BATCHES = {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]}
_RECORD = 1 + 32 * 32 * 3  # bytes: the label, then all reds, greens and blues

_PARQUET = {"train": ("train",), "test": ("test", "validation")}  # first words of the names of files
_PLACES = (".", "data", "plain_text")  # of the parquet files in a data set
_LABELS = ("label", "labels", "fine_label")


def read_npz(path: Path, split: str, key: str | None) -> tuple[Dataset, bool]:
    """Return images and labels of one split of an .npz file, or (the whole, True); `key` selects an array."""
    arrays = NpzFile(path)
    name, whole = arrays.choose(_NPZ_FAMILIES, split, key)
    array, labels, own = arrays.read(name), None, _NPZ_LABELS.get(name)
    if own in arrays:
        labels = validate_labels(arrays.read(own), len(array) if array.ndim else 0, name=f"{path}[{own}]")
    return Dataset(array, labels, 256, f"{path}[{name}]"), whole


# IDX


def read_idx(path: Path) -> np.ndarray:
    """Return the unsigned bytes in an IDX file, in the shape that its header states.

    Raises FileError if it is not an IDX file of unsigned bytes, is cut short, or takes too much memory.
    """
    with reading(path, "an IDX file of unsigned bytes, neither cut short nor damaged"), _opened(path) as file:
        start = file.read(4)
        if start[:3] != _UNSIGNED:
            raise ValueError(f"it starts with {start.hex(' ') or 'nothing'}")
        shape = np.frombuffer(file.read(4 * start[3]), ">u4", start[3]).tolist()
        check_bytes(path, *shape)
        # Reading one byte more also makes gzip check its sum.
        array = np.frombuffer(file.read(math.prod(shape) + 1), np.uint8)
        if len(array) != math.prod(shape):
            raise ValueError(f"not {math.prod(shape):,} bytes for shape {shape}")
        return array.reshape(shape)


def _opened(path):
    """Open a file, gzipped or not."""
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if packed else open(path, "rb")


def looks_like_idx(path: Path) -> bool:
    """Return True if the file starts as IDX does, gzipped or not, or has a name of such files."""
    if "ubyte" in path.name or "idx" in path.name:
        return True
    try:
        with _opened(path) as file:
            return file.read(3) == _UNSIGNED
    except (EOFError, OSError, zlib.error):
        return False


def has_idx(folder: Path) -> bool:
    """Return True if `folder` holds files named as MNIST's four are."""
    return any(_find(folder, split, "images") for split in _PREFIX)


def read_idx_folder(folder: Path, split: str) -> Dataset:
    """Return images and labels of one split of an MNIST-style folder."""
    images, labels = (_find(folder, split, kind, needed=True) for kind in ("images", "labels"))
    return _read_both(images, labels)


def read_idx_file(path: Path) -> Dataset:
    """Return the images of one IDX file, and the labels if the matching file lies beside it."""
    twin = path.with_name(path.name.replace("images", "labels").replace("idx3", "idx1"))
    return _read_both(path, twin if twin != path and twin.is_file() else None)


def _read_both(images_path, labels_path):
    images, labels = read_idx(images_path), None
    if labels_path is not None:
        labels = validate_labels(read_idx(labels_path), len(images), name=str(labels_path))
    return Dataset(images, labels, 256, str(images_path))


def _find(folder, split, kind, needed=False):
    """Return the file of this kind, or None; Kaggle and npm write a dot where the original has a dash."""
    stem = f"{_PREFIX[split]}-{kind}-idx{ {'images': 3, 'labels': 1}[kind] }-ubyte"
    for name in (stem, stem.replace("-idx", ".idx")):
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                return path
    if needed:
        raise FileNotFoundError(
            f"{folder}: got no {stem}, expected it or {stem}.gz. Put it beside the other MNIST-style files."
        )
    return None


# CIFAR-10


def find_cifar10(folder: Path) -> Path | None:
    """Return `folder`, or the folder of CIFAR-10's archive in it, if one holds the batches; None otherwise.

    Raises FileError for CIFAR-10's Python version, which is pickled.
    """
    for place in (folder, folder / "cifar-10-batches-bin", folder / "cifar-10-batches-py"):
        if any((place / name).is_file() for names in _BATCHES.values() for name in names):
            return place
        if any((place / name).is_file() for name in ("data_batch_1", "test_batch")):
            raise FileError(
                f"{place}: got CIFAR-10's Python version, whose pickles could run any code, expected its binary "
                "version. Unpack cifar-10-binary.tar.gz, or download the parquet files from Hugging Face."
            )
    return None


def read_cifar10(folder: Path, split: str) -> Dataset:
    """Return 50,000 train or 10,000 test images, uint8 (n, 32, 32, 3), and their labels."""
    paths = [folder / name for name in _BATCHES[split]]
    check_bytes(folder, sum(path.stat().st_size for path in paths))
    joined = np.concatenate([_records(path) for path in paths])
    images = joined[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return Dataset(images, joined[:, 0].astype(np.int64), 256, str(folder), _CIFAR10)


def _records(path):
    """Return the records of one file, (n, bytes)."""
    with open_file(path) as file:
        raw = np.frombuffer(file.read(), np.uint8)
    if not len(raw) or len(raw) % _RECORD or raw[::_RECORD].max() >= len(_CIFAR10):
        raise FileError(
            f"{path}: got {len(raw):,} bytes of something else, expected records of {_RECORD:,} bytes that begin with "
            "a label of 0 to 9. Check that this is CIFAR-10 (not CIFAR-100) in its binary version."
        )
    return raw.reshape(-1, _RECORD)


# Parquet


def find_parquet(folder: Path, split: str) -> list[Path]:
    """Return the parquet files of one split in `folder`, named as on Hugging Face; [] if there are none."""
    files = sorted(path for place in _PLACES for path in (folder / place).glob("*.parquet"))
    for prefix in _PARQUET[split]:
        if found := [path for path in files if path.name.startswith(prefix)]:
            return found
    if files:
        raise FileNotFoundError(f"{folder}: got other parquet files, expected some named {split}-*.parquet.")
    return []


def read_parquet_images(paths: list[Path], read: Callable[..., np.ndarray]) -> Dataset:
    """Return the images in a column of encoded files, and the labels in a column of that name or None.

    `read(file, name=)` returns one image, which errors call `name`.
    """
    encoded, names, labels = [], [], []
    for path in paths:
        frame = read_parquet(path)
        fields = {name: getattr(kind, "fields", ()) for name, kind in frame.schema.items()}
        pictures = [name for name, parts in fields.items() if "bytes" in [part.name for part in parts]]
        if len(pictures) != 1:
            raise FileError(
                f"{path}: got columns {', '.join(map(repr, frame.columns[:6]))}, expected one column of images, with "
                "their files as bytes. Tables are for flowkit.data.load_table."
            )
        label = next((name for name in _LABELS if name in frame.columns), None)
        encoded.append(frame[pictures[0]].struct.field("bytes"))
        names += [f"{path}, row {row}" for row in range(len(frame))]
        if label is not None:
            labels.append(validate_labels(frame[label].to_numpy(), len(frame), name=f"{path}[{label}]"))
    files = zip(itertools.chain(*encoded), names, strict=True)
    images = stack_images((read(io.BytesIO(file or b""), name=name) for file, name in files), names)
    return Dataset(images, np.concatenate(labels) if labels else None, 256, str(paths[0]))
