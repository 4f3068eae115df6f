"""A folder of image files becomes arrays."""

import os
from collections import Counter
from pathlib import Path

import numpy as np

from flowkit import distributed
from flowkit.data.bounded import MAX_BYTES, check_shape
from flowkit.data.image_file import read_image
from flowkit.data.lazy_images import LazyImages
from flowkit.data.split import name_fraction, split_names

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
_OTHER_IMAGES = (".gif", ".tif", ".tiff", ".heic", ".avif", ".jp2", ".ppm", ".pgm", ".tga", ".ico")

_SPLIT_FOLDERS = {"train": ("train",), "test": ("test", "val", "valid", "validation")}


def load_image_folder(
    folder: str | Path,
    split: str,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    limit: int | None = None,
    max_bytes: int = MAX_BYTES,
    in_memory: bool = True,
) -> tuple[np.ndarray | LazyImages, np.ndarray | None, tuple[str, ...] | None]:
    """Read the images under `folder`, in an order in which any prefix is a fair sample.

    Not `in_memory`: files are read when they are asked for. Each is also read once at the beginning, to see what is
    wrong with it, in a group of processes by one of them.

    Returns:
        images `(n, height, width, channels)` uint8, labels `(n,)` int64 or None, and the names
        of the labels or None.

    Raises:
        FileNotFoundError: if there are no images.
        ValueError: if an image cannot be read, sizes differ and `size` is None, or what is held in memory takes more
            than `max_bytes`.
    """
    root, chosen, classes = image_names(folder, split)
    chosen = chosen[:limit]
    read = _read_all if in_memory else _read_when_asked
    images = read(root, chosen, size, channels, max_bytes)
    labels = None
    if classes:
        number = {name: i for i, name in enumerate(classes)}
        labels = np.array([number[name.split("/")[0]] for name in chosen], np.int64)
    return images, labels, classes


def image_names(folder, split):
    """(root, names under it of one split's images, names of their classes or None), any prefix a fair sample."""
    folder = Path(folder)
    by_split = _split_folders(folder)
    if by_split:
        names = {part: _image_names(root) for part, root in by_split.items()}
        root = by_split[split]
        # Both parts name the classes, so that a label means the same in train and test.
        classes = _classes([name for part in names.values() for name in part])
        # Their own order would put one class after another.
        chosen = sorted(names[split], key=name_fraction)
    else:
        root, names = folder, {split: _image_names(folder)}
        classes = _classes(names[split])
        chosen = split_names(names[split], split, folder) if names[split] else []
    if not chosen:
        raise FileNotFoundError(
            f"{root}: expected image files ({' '.join(SUFFIXES)}), found {_found(root)}. "
            f"{_advice(root)}Check the folder; sub-folders are searched too."
        )
    return root, chosen, classes


def _split_folders(folder):
    """{"train": folder, "test": folder} if `folder` holds nothing but such sub-folders."""
    inside = {path.name.lower(): path for path in _visible(folder) if path.is_dir()}
    known = {name for names in _SPLIT_FOLDERS.values() for name in names}
    # A class may be called "train" too: it then has other classes beside it.
    if "train" not in inside or not set(inside) <= known or len(inside) < 2:
        return None
    return {
        part: next(inside[name] for name in names if name in inside) for part, names in _SPLIT_FOLDERS.items()
    }


def _visible(folder):
    return [path for path in sorted(folder.iterdir()) if not path.name.startswith((".", "__"))]


def _image_names(root):
    """Paths of the images under `root`, relative to it, with forward slashes, sorted."""
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


def _found(root):
    """What there is instead of images, in words."""
    endings = [path.suffix.lower() or path.name for path in root.rglob("*") if path.is_file()]
    if not endings:
        return "none"
    common = [ending for ending, _ in Counter(endings).most_common(3)]
    return f"none among {len(endings)} files ({' '.join(common)})"


def _advice(root):
    """What to do about images of a kind that is not read."""
    others = any(path.suffix.lower() in _OTHER_IMAGES for path in root.rglob("*"))
    return "Save them as .png, in Pillow with Image.open(path).convert('RGB').save(...). " if others else ""


def _classes(names):
    """The sub-folders' names, sorted, if every image lies in one; None otherwise."""
    if not names or not all("/" in name for name in names):
        return None
    return tuple(sorted({name.split("/")[0] for name in names}))


def _read_all(root, names, size, channels, max_bytes):
    first = read_image(root / names[0], size, channels, max_bytes)
    if channels is None:
        # Grey as long as all are grey: the first file in colour restarts the reading in colour.
        channels = first.shape[-1]
        undecided = channels == 1
    else:
        undecided = False
    shape = (len(names), *first.shape)
    check_shape(shape, 1, max_bytes, f"{len(names):,} images such as {root / names[0]}")
    images = np.empty(shape, np.uint8)
    images[0] = first
    for i, name in enumerate(names[1:], start=1):
        image = read_image(root / name, size, None if undecided else channels, max_bytes)
        if undecided and image.shape[-1] == 3:
            del images, image  # before as much again is taken
            return _read_all(root, names, size, 3, max_bytes)
        _check_sides(root, names[0], first.shape, name, image.shape)
        images[i] = image
    return images


def _read_when_asked(root, names, size, channels, max_bytes):
    shapes = _shapes(root, names, size, channels, max_bytes)
    for name, shape in zip(names, shapes, strict=True):
        _check_sides(root, names[0], shapes[0], name, shape)
    height, width, channels = shapes.max(axis=0).tolist()  # grey if all are grey

    def read(rows):
        images = np.empty((len(rows), height, width, channels), np.uint8)
        for image, row in zip(images, rows, strict=True):
            image[...] = read_image(root / names[row], size, channels, max_bytes)
        return images

    return LazyImages(read, (len(names), height, width, channels))


def _shapes(root, names, size, channels, max_bytes):
    """What each file is as an image, `(n, 3)`, of which each process has looked at its part."""
    mine = distributed.mine(np.arange(len(names)))
    shapes, wrong = np.zeros((len(mine), 3), np.int64), []
    for place, row in enumerate(mine):
        try:
            shapes[place] = read_image(root / names[row], size, channels, max_bytes).shape
        except ValueError as error:
            wrong.append(str(error))
            break
    wrong = distributed.gather(np.array(wrong, np.str_))
    if len(wrong):  # in all processes, so that none waits for another
        raise ValueError(wrong[0])
    return distributed.gather(shapes)


def _check_sides(root, first, expected, name, received):
    (height, width), (other_height, other_width) = expected[:2], received[:2]
    if (height, width) != (other_height, other_width):
        raise ValueError(
            f"{root / name}: expected {width}x{height} pixels as in {Path(first).name}, received "
            f"{other_width}x{other_height}. Give a size, as size=32 or --set data.size=32, to "
            "crop and resize all images to one."
        )
