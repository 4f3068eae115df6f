"""`load`: a name or path of images becomes a Dataset. Fashion-MNIST is by Xiao, Rasul & Vollgraf (2017)."""

import functools
import os
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np

from flowkit._shipped import closest
from flowkit.contract.arguments import checked, words
from flowkit.data.bounded import FileError, check_bytes, check_kind, map_npy
from flowkit.data.dataset import Dataset, LazyImages, Limit, Split, split_rows
from flowkit.data.image_file import Size, bring, load_image_folder, read_image
from flowkit.data.packed_images import (
    find_cifar10,
    find_parquet,
    has_idx,
    looks_like_idx,
    read_cifar10,
    read_idx_file,
    read_idx_folder,
    read_npz,
    read_parquet_images,
)
from flowkit.data.validate import validate_images, with_channels

EMBEDDED = Path(__file__).with_name("fashion_mnist.npz")

FULL = Path("/usr/share/datasets/fashion-mnist")  # where Debian's package puts it

CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
_TRAINED = 1437  # of 1,797 digits


def load_embedded(split: str) -> Dataset:
    """Return 5,000 train or 1,000 test images of Fashion-MNIST, `(n, 28, 28, 1)` uint8, with their labels.

    Every ten images in a row hold one of each class. They are cut from the full set, train from train and test from
    test.
    """
    return read_npz(EMBEDDED, split, None)[0]


def load_full(split: str) -> Dataset:
    """Return 60,000 train or 10,000 test images of Fashion-MNIST, `(n, 28, 28, 1)` uint8, with their labels."""
    if not FULL.is_dir():
        raise FileNotFoundError(
            f"{FULL}: got no folder, expected the four files of Fashion-MNIST. Run `apt-get install "
            "dataset-fashion-mnist`, or load a folder of train-images-idx3-ubyte.gz and the other three by its path."
        )
    return read_idx_folder(FULL, split)


def load_digits(split: str) -> Dataset:
    """Return scikit-learn's 1,437 train or 360 test images, `(n, 8, 8, 1)` uint8 in 0..16, with their labels."""
    from sklearn import datasets

    digits = datasets.load_digits()
    rows = slice(_TRAINED) if split == "train" else slice(_TRAINED, None)
    # Each pixel is a count of set pixels in a 4x4 cell.
    images, labels = digits.images[rows].astype(np.uint8)[..., None], digits.target[rows].astype(np.int64)
    return Dataset(images, labels, 17, "digits")


# Name -> a function that loads a split, and the names of the labels.
NAMES = {
    "fashion-mnist": (load_embedded, CLASSES),
    "fashion-mnist-full": (load_full, CLASSES),
    "digits": (load_digits, tuple("0123456789")),
}


@checked
def load(
    source: str | os.PathLike,
    split: Split = "train",
    *,
    size: Size | None = None,
    channels: Annotated[int | None, words(1, 3, None)] = None,
    limit: Limit | None = None,
    in_memory: bool = True,
) -> Dataset:
    """Load one split of a named data set or of your own files.

    Args:
        source: a name ("fashion-mnist", "fashion-mnist-full", "digits") or a path: a folder of
            images, a folder of MNIST's files, of CIFAR-10's binary version or of Hugging Face's parquet files, an .npy,
            .npz, .parquet or IDX file, `file.npz:name` for one of several arrays. A name goes before a folder of the
            same name: write "./digits" for the folder.
        split: "train" or "test". Sources without splits of their own are cut 90/10, the same
            way each time: image folders by a hash of each file's name, arrays by row number.
        size: a side length or (height, width) to bring images to. Image files are cropped about
            their centre to that shape and resized with Pillow's BOX filter, which stays uint8;
            so are arrays that are larger. Smaller arrays get zeros around them.
        channels: 1 (grey) or 3 (colour); None keeps what is stored, and is colour for a folder
            with at least one image in colour. Transparent pixels are put on white.
        limit: load only the first images. Embedded data and folders are in an order in which the
            first ones are a fair sample; others keep the order they are stored in.
        in_memory: False leaves the images of a folder, or of an .npy file of uint8, on the disk, from
            which rows are read when they are indexed. In a group of processes
            (`flowkit.distributed`) all call it. Other sources, such as .npz files, are held in memory all the
            same. They may take half of this machine's memory, as stored in the split's files and as returned; a file
            that declares more is not read. An image file may declare as many pixels as Pillow takes for safe, 89
            million. Polars may take more to unpack parquet.

    Returns:
        A `Dataset`: `images` uint8 `(n, height, width, channels)`, `labels` int64 `(n,)` or None,
        `levels`, `name`, `classes`. Images that stay on the disk are `LazyImages` of that shape.

    Raises:
        FileNotFoundError: if the path, or a file that must be there, is missing.
        ValueError: if the name is unknown, or the data is not images as above or takes too much memory. One line that
            says what came, what was expected and what to do.

    Example:
        >>> data = load("fashion-mnist", "test", size=32, limit=100)
        >>> data
        Dataset(name='fashion-mnist', images=(100, 32, 32, 1), labels=(100,), levels=256)
        >>> data.classes[data.labels[0]] in data.classes
        True
    """
    name = str(source)
    found, whole = _read(
        source, split, functools.partial(read_image, size=size, channels=channels), limit, in_memory
    )
    if isinstance(found.images, LazyImages):  # of a folder, whose files are read as they should be
        return replace(found, name=name)
    found = replace(found, images=_as_images(found.images, found.name, in_memory))
    rows = split_rows(len(found), split, found.name, "images") if whole else np.arange(len(found))
    # In place of the whole, before as much again is taken.
    found = replace(found.take(rows[:limit]), name=name)
    if isinstance(found.images, LazyImages):
        return replace(found, images=found.images.mapped(lambda some: bring(some, size, channels, name)))
    shape = (len(found), *(size or found.images.shape[1:3]), channels or found.images.shape[3])
    check_bytes(f"{name} as {shape}", *shape)
    return replace(found, images=bring(found.images, size, channels, name))


def _read(source, split, read, limit, in_memory):
    """Return the images of a split as they are stored, or (those of both, True); `read` returns one image."""
    if isinstance(source, str) and source in NAMES:
        load_split, classes = NAMES[source]
        return replace(load_split(split), classes=classes), False
    path, key = existing_path(source, NAMES)
    suffix = path.suffix.lower()
    if path.is_dir():
        return _read_folder(path, split, read, limit, in_memory), False
    if suffix == ".npy":
        return Dataset(map_npy(path), None, 256, str(path)), True
    if suffix == ".npz":
        return read_npz(path, split, key)
    if suffix == ".parquet":
        return read_parquet_images([path], read), True
    if looks_like_idx(path):
        return read_idx_file(path), True
    raise FileError(
        f"{path}: got something else, expected a folder, an .npy, .npz or .parquet file or an IDX file. "
        "Put images into a folder, unpack archives, and save the arrays of a pickle, which could run any code, with "
        "np.savez; tables are for flowkit.data.load_table and for recipes of tables, such as nsf/magic."
    )


def _read_folder(path, split, read, limit, in_memory):
    """Return the images of a split in a folder."""
    if place := find_cifar10(path):
        return read_cifar10(place, split)
    if has_idx(path):
        return read_idx_folder(path, split)
    if files := find_parquet(path, split):
        return read_parquet_images(files, read)
    return load_image_folder(path, split, read, limit, in_memory)


def _as_images(array, name, in_memory):
    """Return an array as images: checked, uint8, in memory.

    Without `in_memory`, an array of uint8 that is mapped from a file stays there, as `LazyImages`.
    """
    if isinstance(array, np.memmap) and not in_memory and array.dtype == np.uint8:
        array = with_channels(array, name)
        return LazyImages(lambda rows: np.asarray(array[rows]), array.shape)
    check_bytes(name, *array.shape, array.itemsize)
    return validate_images(array, name=name)


def absolute(source: str | Path) -> str:
    """Return `source` in a form that works from any folder: a name unchanged, a path as an absolute one.

    Raises the errors of `load` if there is neither.
    """
    if source in NAMES:
        return str(source)
    path, key = existing_path(source, NAMES)
    return str(path.resolve()) + (f":{key}" if key else "")


def existing_path(source: str | os.PathLike, names: Iterable[str] = ()) -> tuple[Path, str | None]:
    """Return the path of a folder or file, and the name of an array in it or None.

    Raises FileNotFoundError, or ValueError for a word that is none of the `names` that stand for data either.
    """
    path, key = Path(os.path.expanduser(source)), None
    if not path.exists() and (inside := re.fullmatch(r"(.+\.npz):([^:/]+)", str(path), re.IGNORECASE)):
        path, key = Path(inside[1]), inside[2]
    if path.exists():
        if not path.is_dir():
            check_kind(path)
        return path, key
    if not names or not isinstance(source, str) or "/" in source or path.suffix:
        raise FileNotFoundError(f"{path}: got no file or folder, expected one. Check the path.")
    near = closest(source, names)
    raise ValueError(f"source: got {source!r}, expected a path that exists, or a name of images; {near}.")
