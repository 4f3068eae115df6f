"""Parquet files, read by polars: tables of numbers, and images as Hugging Face stores them."""

import importlib
import io
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from flowkit.data.bounded import FileError, check_bytes, check_shape, regular_size
from flowkit.data.dataset import Found
from flowkit.data.frame import Columns
from flowkit.data.image_file import stack_images
from flowkit.data.validate import validate_labels

_PREFIXES = {"train": ("train",), "test": ("test", "validation")}  # of the files of a split
_PLACES = (".", "data", "plain_text")  # of the files in a data set
_LABELS = ("label", "labels", "fine_label")


def read_table(path: Path, max_bytes: int) -> tuple[np.ndarray, tuple[str | int, ...]]:
    """Return the numbers in a parquet file, (rows, columns), and the names of its columns."""
    polars, lazy = _scan(path, max_bytes)
    schema = lazy.collect_schema()
    # Text can unpack to any size, so numbers alone are read.
    words = [name for name, kind in schema.items() if not (kind.is_numeric() or kind == polars.Boolean)]
    if words:
        raise FileError(
            f"{path}: expected numbers in column {words[0]!r}, received {schema[words[0]]}. Leave it out."
        )
    frame = _collect(polars, path, lazy)
    try:
        columns = Columns.of(frame)
        return columns.values(frame), columns.names
    except ValueError as error:
        raise FileError(f"{path}: {error}") from None


def read_frame(path: Path, max_bytes: int) -> Any:
    """Return the frame in a parquet file, with columns of all types."""
    polars, lazy = _scan(path, max_bytes)
    return _collect(polars, path, lazy)


def find_parquet(folder: Path, split: str) -> list[Path]:
    """Return the parquet files of one split in `folder`, named as on Hugging Face; [] if there are none."""
    files = sorted(path for place in _PLACES for path in (folder / place).glob("*.parquet"))
    for prefix in _PREFIXES[split]:
        if found := [path for path in files if path.name.startswith(prefix)]:
            return found
    if files:
        raise FileNotFoundError(f"{folder}: expected parquet files named {split}-*.parquet, found none.")
    return []


def read_images(paths: list[Path], read: Callable[..., np.ndarray], max_bytes: int, *, whole: bool) -> Found:
    """Return the images in a column of encoded files, and the labels in a column of that name or None.

    `read(file, name=)` returns one image, which errors call `name`.
    """
    check_bytes(sum(map(regular_size, paths)), max_bytes, f"{len(paths)} files such as {paths[0]}")
    encoded, names, labels = [], [], []
    for path in paths:
        polars, lazy = _scan(path, max_bytes)
        schema = lazy.collect_schema()
        pictures = [
            name
            for name, kind in schema.items()
            if kind == polars.Struct and "bytes" in [field.name for field in kind.fields]
        ]
        if len(pictures) != 1:
            raise FileError(
                f"{path}: expected one column of images, with their files as bytes, received columns "
                f"{', '.join(map(repr, list(schema)[:6]))}. Tables are for flowkit.data.load_table."
            )
        label = next((name for name in _LABELS if name in schema), None)
        frame = _collect(polars, path, lazy.select([pictures[0], *([] if label is None else [label])]))
        encoded.append(frame[pictures[0]].struct.field("bytes"))
        names += [f"{path}, row {row}" for row in range(len(frame))]
        if label is not None:
            labels.append(validate_labels(frame[label].to_numpy(), len(frame), name=f"{path}[{label}]"))
    files = zip(itertools.chain(*encoded), names, strict=True)
    images = stack_images(
        (read(io.BytesIO(file or b""), name=name) for file, name in files), names, max_bytes
    )
    return Found(images, np.concatenate(labels) if labels else None, str(paths[0]), whole)


def _scan(path, max_bytes):
    """Return polars, and the lazy frame of a file whose rows and columns take at most `max_bytes` as numbers."""
    check_bytes(regular_size(path), max_bytes, str(path))
    try:
        polars: Any = importlib.import_module("polars")
    except ImportError:
        raise FileError(
            f"{path}: expected polars to be installed, which reads .parquet files: pip install polars. Or save a "
            "table as .csv, and images as .npz."
        ) from None
    # The path as it is: a pattern such as x[1].parquet would read other files.
    lazy = polars.scan_parquet(path, glob=False)
    count = _collect(polars, path, lazy.select(polars.len())).item()
    check_shape((count, len(lazy.collect_schema())), 8, max_bytes, str(path))
    return polars, lazy


def _collect(polars, path, lazy):
    """Return the frame of a lazy one; FileError for a damaged file."""
    try:
        return lazy.collect()
    except polars.exceptions.PolarsError as error:
        reason = (str(error).splitlines() or [""])[0][:100]
        raise FileError(
            f"{path}: expected a .parquet file, received one that can't be read ({reason})."
        ) from None
