"""`load`: one name or path, whatever it is, becomes a Dataset."""

import difflib
import os
import re
from pathlib import Path

import numpy as np

from flowkit.contract.arguments import whole_number
from flowkit.data import cifar10, digits, fashion_mnist
from flowkit.data.array_file import load_npy, load_npz
from flowkit.data.bounded import MAX_BYTES, check_shape, regular_size
from flowkit.data.dataset import Dataset
from flowkit.data.geometry import check_channels, check_size, convert_channels, resize_arrays
from flowkit.data.idx import has_idx, load_idx_file, load_idx_folder, looks_like_idx
from flowkit.data.image_folder import SUFFIXES, load_image_folder
from flowkit.data.lazy_images import LazyImages
from flowkit.data.split import check_split

# name -> how to load a split, how many values a pixel takes, what the labels mean
NAMES = {
    "fashion-mnist": (fashion_mnist.load_embedded, 256, fashion_mnist.CLASSES),
    "fashion-mnist-full": (fashion_mnist.load_full, 256, fashion_mnist.CLASSES),
    "digits": (digits.load_digits, digits.LEVELS, tuple("0123456789")),
}


def load(
    source: str | os.PathLike,
    split: str = "train",
    *,
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    limit: int | None = None,
    max_bytes: int = MAX_BYTES,
    in_memory: bool = True,
) -> Dataset:
    """Load one split of a named data set or of your own files.

    Args:
        source: a name ("fashion-mnist", "fashion-mnist-full", "digits") or a path: a folder of
            images, a folder of MNIST's or CIFAR-10's files, an .npy, .npz or IDX file, `file.npz:name`
            for one of several arrays. A name goes before a folder of the same name: write "./digits" for
            the folder.
        split: "train" or "test". Sources without splits of their own are cut 90/10, the same
            way each time: image folders by a hash of each file's name, arrays by row number.
        size: a side length or (height, width) to bring images to. Image files are cropped about
            their centre to that shape and resized with Pillow's BOX filter, which stays uint8;
            so are arrays that are larger. Smaller arrays get zeros around them.
        channels: 1 (grey) or 3 (colour); None keeps what is stored, and is colour for a folder
            with at least one image in colour. Transparent pixels are put on white.
        limit: load only so many images. Embedded data and folders are in an order in which the
            first ones are a fair sample; others keep the order they are stored in.
        max_bytes: the most that the images may take, as stored in the split's files and as returned; 4 GiB.
            A file that declares more is not read, so that no more than twice as much memory is taken. A packed
            file may declare 256 MiB or 200 times its size; an image file as many pixels as Pillow takes for
            safe, 89 million.
        in_memory: False leaves the images of a folder, or of an .npy, .npz or IDX file of uint8, on the disk, from
            which rows are read as they are asked for; `max_bytes` then bounds a single image. In a group of processes
            (`flowkit.distributed`) all call it. Other sources, and files that are packed (`np.savez_compressed`, .gz),
            are held in memory all the same.

    Returns:
        A `Dataset`: `images` uint8 `(n, height, width, channels)`, `labels` int64 `(n,)` or None,
        `levels`, `name`, `classes`. What stays on the disk is a `LazyImages` of that shape.

    Raises:
        FileNotFoundError: if the path, or a file that must be there, is missing.
        ValueError: if the name is unknown, or the data is not images as above or takes more than
            `max_bytes`. One line that says what was expected, what came and what to do.

    Example:
        >>> data = load("fashion-mnist", "test", size=32, limit=100)
        >>> data
        Dataset(name='fashion-mnist', images=(100, 32, 32, 1), labels=(100,), levels=256)
        >>> data.classes[data.labels[0]] in data.classes
        True
    """
    check_split(split)
    size = check_size(size)
    check_channels(channels)
    if limit is not None:
        limit = whole_number(limit, "limit", least=1)
    max_bytes = whole_number(max_bytes, "max_bytes", least=1)
    levels, classes, name = 256, None, str(source)
    if isinstance(source, str) and source in NAMES:
        load_split, levels, classes = NAMES[source]
        images, labels = load_split(split)
    elif isinstance(source, str | os.PathLike):
        path, key = existing_path(source)
        if path.is_dir() and (found := cifar10.find_cifar10(path)):
            images, labels = cifar10.load_cifar10(found, split, max_bytes)
            classes = cifar10.CLASSES
        elif path.is_dir() and has_idx(path):
            images, labels = load_idx_folder(path, split, max_bytes, in_memory)
        elif path.is_dir():
            images, labels, classes = load_image_folder(
                path, split, size, channels, limit, max_bytes, in_memory
            )
            return Dataset(images, labels, levels, name, classes)
        else:
            images, labels = _load_file(path, split, key, max_bytes, in_memory)
    else:
        raise ValueError(
            f"source: expected a name or a path, received {type(source).__name__}. Arrays go to "
            "flowkit.data.validate_images, or straight to Flow.fit."
        )
    labels = None if labels is None else labels[:limit]
    if isinstance(images, LazyImages):
        images = images.mapped(lambda some: _brought(some, size, channels, name), limit)
        return Dataset(images, labels, levels, name, classes)
    images = images[:limit]
    shape = (len(images), *(size or images.shape[1:3]), channels or images.shape[3])
    check_shape(shape, 1, max_bytes, f"{name} as {shape}")
    return Dataset(_brought(images, size, channels, name), labels, levels, name, classes)


def _brought(images, size, channels, name):
    """`images` of that size and with so many channels."""
    return np.ascontiguousarray(resize_arrays(convert_channels(images, channels, name), size, name))


def absolute(source: str | Path) -> str:
    """`source` as it can be given from any folder: a name stays, a path becomes a whole one.

    Raises what `load` does if there is neither.
    """
    if source in NAMES:
        return source
    path, key = existing_path(source)
    return str(path.resolve()) + (f":{key}" if key else "")


def existing_path(source):
    """The path of a file or folder, and the name of an array in it or None."""
    path, key = _expanded(source), None
    if not path.exists() and (inside := re.fullmatch(r"(.+\.npz):([^:/]+)", str(path), re.IGNORECASE)):
        path, key = Path(inside[1]), inside[2]
    if path.exists():
        if not path.is_dir():
            regular_size(path)
        return path, key
    names = ", ".join(NAMES)
    looks_like_path = not isinstance(source, str) or os.sep in source or "/" in source
    if looks_like_path or path.suffix:
        or_named = (
            ""
            if path.suffix.lower() in (".csv", ".tsv", ".parquet")
            else f", or use one of the names {names}"
        )
        raise FileNotFoundError(f"{path}: expected a file or folder, found none. Check the path{or_named}.")
    near = difflib.get_close_matches(source.lower().replace("_", "-"), NAMES, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"source: expected one of {names}, or a path that exists, received {source!r}.{hint}")


def _expanded(source):
    """The path, with the user's folder for ~, that can be asked for."""
    try:
        path = Path(source).expanduser()
        path.exists()
    except (RuntimeError, OSError) as error:  # ~nobody; a name that is too long for any file
        raise FileNotFoundError(
            f"{str(source)[:80]}: expected a file or folder, found none ({getattr(error, 'strerror', None) or error})."
        ) from None
    return path


def _load_file(path, split, key, max_bytes, in_memory):
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return load_npy(path, split, max_bytes, in_memory)
    if suffix == ".npz":
        return load_npz(path, split, key, max_bytes, in_memory)
    if suffix in SUFFIXES:
        raise ValueError(
            f"{path}: expected a folder of images, received a single image. Pass the folder it lies in."
        )
    if looks_like_idx(path):
        return load_idx_file(path, split, max_bytes, in_memory)
    raise ValueError(
        f"{path}: expected a folder, an .npy or .npz file or an IDX file, received something else. "
        "Unpack archives first; tables are for flowkit.data.load_table and for recipes of tables, such as nsf/magic."
    )
