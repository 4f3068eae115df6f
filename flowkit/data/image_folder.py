"""Folders of image files."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from flowkit import distributed
from flowkit.data.dataset import Dataset, by_hash, split_names
from flowkit.data.image_file import check_sides, stack_images
from flowkit.data.lazy_images import LazyImages
from flowkit.distributed.failed import failing_together

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
_SPLIT_FOLDERS = {"train": ("train",), "test": ("test", "val", "valid", "validation")}


def load_image_folder(
    folder: Path,
    split: str,
    read: Callable[[str], np.ndarray],
    limit: int | None,
    max_bytes: int,
    in_memory: bool,
) -> Dataset:
    """Return the images under `folder`, in an order in which any prefix is a fair sample, their labels and classes.

    `read(path)` returns one image. Without `in_memory`, files are read when they are indexed; each is also read once at
    the beginning, to find damaged ones, in a group of processes by one of them.
    """
    by_split = _split_folders(folder)
    roots = by_split or {split: folder}
    root, names = roots[split], {part: _image_names(place) for part, place in roots.items()}
    # Both parts name the classes, so that a label means the same in train and test.
    classes = _classes([name for part in names.values() for name in part])
    if by_split:  # their own order would put one class after another
        chosen = by_hash(names[split])
    else:
        chosen = split_names(names[split], split, folder) if names[split] else []
    if not chosen:
        others = sum(path.is_file() for path in root.rglob("*"))
        raise FileNotFoundError(
            f"{root}: expected image files ({' '.join(SUFFIXES)}), found none among {others} files. "
            "Save them as .png, in Pillow with Image.open(path).convert('RGB').save(...). Sub-folders are searched too."
        )
    chosen = chosen[:limit]
    paths = [str(root / name) for name in chosen]
    images = (
        stack_images(map(read, paths), paths, max_bytes) if in_memory else _read_when_indexed(paths, read)
    )
    labels = np.searchsorted(classes, [name.split("/")[0] for name in chosen]) if classes else None
    return Dataset(images, labels, 256, str(folder), classes)


def _split_folders(folder):
    """Return {"train": folder, "test": folder} if `folder` holds nothing but such sub-folders, else None."""
    inside = {
        path.name.lower(): path
        for path in sorted(folder.iterdir())
        if path.is_dir() and not path.name.startswith((".", "__"))
    }
    known = {name for names in _SPLIT_FOLDERS.values() for name in names}
    # A class may be called "train" too: it then has other classes beside it.
    if "train" not in inside or not set(inside) <= known or len(inside) < 2:
        return None
    return {
        part: next(inside[name] for name in names if name in inside) for part, names in _SPLIT_FOLDERS.items()
    }


def _image_names(root):
    """Return paths of the images under `root`, relative to it, with forward slashes, sorted."""
    names, seen = [], set()
    # Folders of classes are often links; one that points upwards must not be walked for ever.
    for where, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(where)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__")))
        for name in files:
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                names.append(Path(where, name).relative_to(root).as_posix())
    return sorted(names)


def _classes(names):
    """Return the sub-folders' names, sorted, if every image lies in one; None otherwise."""
    if not names or not all("/" in name for name in names):
        return None
    return tuple(sorted({name.split("/")[0] for name in names}))


def _read_when_indexed(paths, read):
    with failing_together():  # none waits for one that finds a damaged file
        mine = distributed.mine(np.arange(len(paths)))
        shapes = distributed.gather(np.array([read(paths[row]).shape for row in mine], int).reshape(-1, 3))
    for path, shape in zip(paths, shapes, strict=True):
        check_sides(shapes[0], paths[0], shape, path)
    shape = shapes.max(axis=0).tolist()  # grey if all are grey

    def some(rows):
        images = np.empty((len(rows), *shape), np.uint8)
        for image, row in zip(images, rows, strict=True):
            image[...] = read(paths[row])
        return images

    return LazyImages(some, (len(paths), *shape))
