"""Parquet files, read by polars: tables of numbers, and images as Hugging Face stores them."""

import importlib
import io
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from flowkit.data.bounded import FileError, open_file, reading
from flowkit.data.dataset import Dataset
from flowkit.data.image_file import stack_images
from flowkit.data.validate import validate_labels

_PREFIXES = {"train": ("train",), "test": ("test", "validation")}  # of the files of a split
_PLACES = (".", "data", "plain_text")  # of the files in a data set
_LABELS = ("label", "labels", "fine_label")


def read_frame(path: Path, max_bytes: int) -> Any:
    """Return the frame in a parquet file of at most `max_bytes`, with columns of all types."""
    with open_file(path, max_bytes) as file, reading(path, "a .parquet file"):
        # An open file, because a path such as x[1].parquet is a pattern for polars.
        return importlib.import_module("polars").read_parquet(file)


def find_parquet(folder: Path, split: str) -> list[Path]:
    """Return the parquet files of one split in `folder`, named as on Hugging Face; [] if there are none."""
    files = sorted(path for place in _PLACES for path in (folder / place).glob("*.parquet"))
    for prefix in _PREFIXES[split]:
        if found := [path for path in files if path.name.startswith(prefix)]:
            return found
    if files:
        raise FileNotFoundError(f"{folder}: got other parquet files, expected some named {split}-*.parquet.")
    return []


def read_images(paths: list[Path], read: Callable[..., np.ndarray], max_bytes: int) -> Dataset:
    """Return the images in a column of encoded files, and the labels in a column of that name or None.

    `read(file, name=)` returns one image, which errors call `name`.
    """
    encoded, names, labels = [], [], []
    for path in paths:
        frame = read_frame(path, max_bytes)
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
    images = stack_images(
        (read(io.BytesIO(file or b""), name=name) for file, name in files), names, max_bytes
    )
    return Dataset(images, np.concatenate(labels) if labels else None, 256, str(paths[0]))
