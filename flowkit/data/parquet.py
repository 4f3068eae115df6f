"""Parquet files, read by polars: tables of numbers, and images as Hugging Face stores them."""

import importlib
import io
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from flowkit.data.bounded import FileError, check_bytes, check_shape, reading, regular_size
from flowkit.data.dataset import Dataset
from flowkit.data.frame import Columns
from flowkit.data.image_file import stack_images
from flowkit.data.validate import validate_labels

_PREFIXES = {"train": ("train",), "test": ("test", "validation")}  # of the files of a split
_PLACES = (".", "data", "plain_text")  # of the files in a data set
_LABELS = ("label", "labels", "fine_label")


def read_table(path: Path, max_bytes: int) -> tuple[np.ndarray, tuple[str | int, ...]]:
    """Return the numbers in a parquet file, (rows, columns), and the names of its columns."""
    lazy = _scan(path, max_bytes)
    # Text can unpack to any size, so numbers alone are read.
    for name, kind in lazy.collect_schema().items():
        if not (kind.is_numeric() or str(kind) == "Boolean"):
            raise FileError(f"{path}: expected numbers in column {name!r}, received {kind}. Leave it out.")
    frame = _collect(path, lazy)
    try:
        columns = Columns.of(frame)
        return columns.values(frame), columns.names
    except ValueError as error:
        raise FileError(f"{path}: {error}") from None


def read_frame(path: Path, max_bytes: int) -> Any:
    """Return the frame in a parquet file, with columns of all types."""
    return _collect(path, _scan(path, max_bytes))


def find_parquet(folder: Path, split: str) -> list[Path]:
    """Return the parquet files of one split in `folder`, named as on Hugging Face; [] if there are none."""
    files = sorted(path for place in _PLACES for path in (folder / place).glob("*.parquet"))
    for prefix in _PREFIXES[split]:
        if found := [path for path in files if path.name.startswith(prefix)]:
            return found
    if files:
        raise FileNotFoundError(f"{folder}: expected parquet files named {split}-*.parquet, found none.")
    return []


def read_images(paths: list[Path], read: Callable[..., np.ndarray], max_bytes: int) -> Dataset:
    """Return the images in a column of encoded files, and the labels in a column of that name or None.

    `read(file, name=)` returns one image, which errors call `name`.
    """
    check_bytes(sum(map(regular_size, paths)), max_bytes, f"{len(paths)} files such as {paths[0]}")
    encoded, names, labels = [], [], []
    for path in paths:
        lazy = _scan(path, max_bytes)
        schema = lazy.collect_schema()
        parts = {name: [part.name for part in getattr(kind, "fields", ())] for name, kind in schema.items()}
        pictures = [name for name, inside in parts.items() if "bytes" in inside]
        if len(pictures) != 1:
            raise FileError(
                f"{path}: expected one column of images, with their files as bytes, received columns "
                f"{', '.join(map(repr, list(schema)[:6]))}. Tables are for flowkit.data.load_table."
            )
        label = next((name for name in _LABELS if name in schema), None)
        frame = _collect(path, lazy.select([pictures[0], *([] if label is None else [label])]))
        encoded.append(frame[pictures[0]].struct.field("bytes"))
        names += [f"{path}, row {row}" for row in range(len(frame))]
        if label is not None:
            labels.append(validate_labels(frame[label].to_numpy(), len(frame), name=f"{path}[{label}]"))
    files = zip(itertools.chain(*encoded), names, strict=True)
    images = stack_images(
        (read(io.BytesIO(file or b""), name=name) for file, name in files), names, max_bytes
    )
    return Dataset(images, np.concatenate(labels) if labels else None, 256, str(paths[0]))


def require_polars(path: Path) -> Any:
    """Return polars. Raise FileError, for the file at `path`, if it is not installed."""
    try:
        return importlib.import_module("polars")
    except ImportError:
        raise FileError(
            f"{path}: expected polars to be installed, which reads .parquet files and mixed tables: pip install "
            "polars. Or save a table of numbers as .csv, and images as .npz."
        ) from None


def _scan(path, max_bytes):
    """Return the lazy frame of a file whose rows and columns take at most `max_bytes` as numbers."""
    check_bytes(regular_size(path), max_bytes, str(path))
    polars = require_polars(path)
    # The path as it is: a pattern such as x[1].parquet would read other files.
    lazy = polars.scan_parquet(path, glob=False)
    count = _collect(path, lazy.select(polars.len())).item()
    check_shape((count, len(lazy.collect_schema())), 8, max_bytes, str(path))
    return lazy


def _collect(path, lazy):
    with reading(path, "a .parquet file"):
        return lazy.collect()
