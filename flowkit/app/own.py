"""The recipes `images` and `table`, for data of one's own: values that follow from the data."""

import importlib.util
from pathlib import Path

from flowkit import data
from flowkit.app.find import OWN
from flowkit.data.bounded import FileError
from flowkit.data.mixed_table import SUFFIXES, read_frame

_LOOKED_AT = 64  # images
_LARGEST, _USUAL = 64, 32  # the side up to which images of one size keep it, and that of all others
_MOST_CLASSES = 50
_BATCH, _BATCHES = 256, 8  # rows in a batch, and the fewest batches in an epoch


def inferred(recipe, source):
    """Return {key: value} of a recipe by its data, such as {"model.levels": 3}; {} for other recipes than these two.

    Raises what `data.load` and `data.load_table` do.
    """
    if recipe not in OWN:
        return {}
    if recipe == "table":
        mixed = Path(source).suffix.lower() in SUFFIXES and importlib.util.find_spec("polars")
        rows = len(read_frame(source) if mixed else data.load_table(source))
        return {"training.batch_size": max(1, min(_BATCH, rows // _BATCHES))}
    try:
        found = data.load(source, limit=_LOOKED_AT)
    except FileError:  # of several sizes, or too large to be held as they are
        found = data.load(source, limit=_LOOKED_AT, size=_USUAL)
    images = found.images
    height, width, channels = images.shape[1:]
    sides = [height, width] if max(height, width) <= _LARGEST else [_USUAL, _USUAL]
    size = [side - side % 8 if side >= _USUAL else side - side % 4 for side in sides]
    values = {"data.size": size, "model.levels": 3 if min(size) >= _USUAL else 2}
    if channels == 3:  # which files may have for grey pictures too
        values["data.channels"] = 3 if (images != images[..., :1]).any() else 1
    if found.levels == 256:
        values["model.n_bits"] = 5
    if found.labels is not None and 1 < (classes := 1 + int(found.labels.max())) <= _MOST_CLASSES:
        values["model.num_classes"] = len(found.classes or range(classes))
    return values
