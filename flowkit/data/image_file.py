"""Images from files and folders, all in uint8; their size and channels: crop, resize, pad, grey to colour and back."""

import hashlib
import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import numpy as np
from PIL import Image, ImageOps

from flowkit import distributed
from flowkit.contract.arguments import whole
from flowkit.data.bounded import FileError, check_bytes, reading
from flowkit.data.dataset import TEST_FRACTION, Dataset, LazyImages
from flowkit.distributed.failed import failing_together

# Pillow knows many more, some of which start other programs.
_FORMATS = ("PNG", "JPEG", "BMP", "WEBP")
# It averages pixels and stays in 0..255, while bicubic and Lanczos overshoot.
_SHRINK = Image.Resampling.BOX
_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
_SPLIT_FOLDERS = {"train": ("train",), "test": ("test", "val", "valid", "validation")}


def _image_size(size, name):
    """Return (height, width), from a whole number for squares or a pair."""
    pair = size if isinstance(size, tuple | list) else (size, size)
    if len(pair) != 2:
        raise ValueError(f"{name}: got {size!r}, expected a whole number or (height, width).")
    height, width = (whole(1, 2**14)(side, name) for side in pair)
    return height, width


Side = Annotated[int, whole(1, 2**14)]
Size = Annotated[int | tuple[int, int], _image_size]


def read_image(
    file: str | Path | BinaryIO,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    name: str | None = None,
) -> np.ndarray:
    """Return one image as uint8 `(height, width, channels)`, on white where it is transparent.

    `size`, `channels`: as for `flowkit.data.load`; errors call the image `name`. Raises FileError if the
    file is no image of 8 bits, or has more pixels than Pillow takes for safe (`PIL.Image.MAX_IMAGE_PIXELS`).
    """
    name = name or str(file)
    with reading(name, f"an image ({', '.join(_FORMATS[:-1])} or {_FORMATS[-1]})"):
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            opened = Image.open(file, formats=_FORMATS)
        with opened:
            opened.load()
            # Cameras store how the picture was held beside the pixels.
            image: Image.Image = ImageOps.exif_transpose(opened)
    if image.mode == "F" or image.mode.startswith("I"):
        raise FileError(
            f"{name}: got Pillow mode {image.mode!r}, expected 8 bits per channel. Convert it to an 8-bit image first."
        )
    if image.has_transparency_data:
        grey = image.mode in ("LA", "La", "L")
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image).convert("L" if grey else "RGB")
    if channels is None:
        channels = 1 if image.mode in ("1", "L") else 3
    return _brought(image, size, channels)


def _brought(image, size, channels):
    """Return an image of Pillow as uint8 `(height, width, channels)`, cropped and resized unless `size` is None."""
    image = image.convert("L" if channels == 1 else "RGB")
    if size is not None:
        image = ImageOps.fit(image, size[::-1], _SHRINK)
    return np.asarray(image, np.uint8).reshape(image.height, image.width, channels)


def stack_images(images: Iterable[np.ndarray], names: list[str]) -> np.ndarray:
    """Return images of one size as one array, in colour if any is, else grey; errors use their `names`."""
    found: list[np.ndarray] = []
    for image, name in zip(images, names, strict=True):
        if not found:
            check_bytes(f"{len(names):,} images such as {name}", len(names), *image.shape)
        found.append(image)
        check_sides(found[0].shape, names[0], image.shape, name)
    channels = max(image.shape[-1] for image in found)
    return np.stack([np.broadcast_to(image, (*image.shape[:2], channels)) for image in found])


def check_sides(expected: Any, first: str, received: Any, name: str) -> None:
    """Raise FileError if an image has other sides than the first one."""
    if tuple(expected[:2]) != tuple(received[:2]):
        raise FileError(
            f"{name}: got {received[1]}x{received[0]} pixels, expected {expected[1]}x{expected[0]} as in "
            f"{Path(first).name}. Give a size, as size=32 or --set data.size=32, to crop and resize all images to one."
        )


def bring(images: np.ndarray, size: tuple[int, int] | None, channels: int | None, name: str) -> np.ndarray:
    """Bring `(n, h, w, c)` arrays to `size` and `channels`, as image files are; put zeros around smaller ones.

    Grey becomes colour by repetition, and colour grey by the ITU-R 601 weights.
    """
    sides, have = images.shape[1:3], images.shape[-1]
    size, channels = size or sides, channels or have
    spare = np.subtract(size, sides)
    shrink = spare.min() < 0
    if (shrink or channels != have) and have not in (1, 3):
        raise ValueError(
            f"{name}: got {have} channels, expected 1 or 3 to resize or convert. Do so yourself, and leave size= and "
            "channels= out."
        )
    if shrink or channels != have:
        moved = np.empty((len(images), *(size if shrink else sides), channels), np.uint8)
        for image, place in zip(images, moved, strict=True):
            picture = Image.fromarray(image[..., 0] if have == 1 else image)
            place[...] = _brought(picture, size if shrink else None, channels)
        images = moved
    if not shrink and spare.any():
        # As the literature brings MNIST to 32x32. Enlarging 28 to 32 would repeat every seventh
        # pixel and nothing else.
        images = np.pad(images, ((0, 0), *((n // 2, n - n // 2) for n in spare), (0, 0)))
    return np.ascontiguousarray(images)


# Folders


def load_image_folder(
    folder: Path,
    split: str,
    read: Callable[[str], np.ndarray],
    limit: int | None,
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
        chosen = sorted(names[split], key=_fraction)
    else:
        chosen = _split_names(names[split], split, folder) if names[split] else []
    if not chosen:
        others = sum(path.is_file() for path in root.rglob("*"))
        raise FileNotFoundError(
            f"{root}: got no image among {others} files, expected image files ({' '.join(_SUFFIXES)}). Save them as "
            ".png, in Pillow with Image.open(path).convert('RGB').save(...). Sub-folders are searched too."
        )
    chosen = chosen[:limit]
    paths = [str(root / name) for name in chosen]
    images = stack_images(map(read, paths), paths) if in_memory else _read_when_indexed(paths, read)
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
            if name.lower().endswith(_SUFFIXES) and not name.startswith("."):
                names.append(Path(where, name).relative_to(root).as_posix())
    return sorted(names)


def _classes(names):
    """Return the sub-folders' names, sorted, if every image lies in one; None otherwise."""
    if not names or not all("/" in name for name in names):
        return None
    return tuple(sorted({name.split("/")[0] for name in names}))


def _split_names(names: Sequence[str], split: str, source: str | Path) -> list[str]:
    """Return the names of one split, in an order in which any prefix is a fair sample.

    The hash of a name places it, so that adding files later moves none of the old ones between the splits.
    """
    test = split == "test"
    chosen = [name for name in sorted(names, key=_fraction) if (_fraction(name) < TEST_FRACTION) == test]
    if not chosen:
        raise FileError(
            f"{source}: got {len(names)} images and none for {split!r}, expected enough for a 90/10 split by file "
            "name. Add images, or make `train` and `test` sub-folders yourself."
        )
    return chosen


def _fraction(name):
    """Return a number in [0, 1) that depends on nothing but `name`, uniform over names."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64


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
