"""A model that knows of more classes than there are images of: a slip of the pen, or few data."""

import warnings

import numpy as np

from flowkit import data, distributed
from flowkit.recipes.schema import Recipe

_SHOWN = 4  # of a long list of classes


def note_unseen_classes(recipe: Recipe, splits: list[data.Dataset]) -> None:
    """Warn if the recipe's `num_classes` counts classes of which no split has an image: nothing is learned of them.

    It is no error: a folder may lack a class today, and so may a file. A source that names its classes has as many as
    names, whatever few images were read of it; from one without names a `limit` may leave some out, and nothing is
    said.
    """
    classes, first = recipe.model.get("num_classes"), splits[0]
    if classes is None or not distributed.is_main():
        return
    if first.classes is not None:
        count = len(first.classes)
        missing, found = classes - count, f"has images of {count}, {_listed(first.classes)}"
    elif recipe.data.limit is None:
        seen = np.unique(np.concatenate([split.labels for split in splits]))
        unseen = np.setdiff1d(np.arange(classes), seen)
        count, missing = int(seen.max()) + 1, len(unseen)
        found = f"has no image of label {_listed(unseen, 'or')}" if missing else ""
    else:
        return
    if missing > 0:
        plural = "class" if missing == 1 else "classes"
        fewer = f"If there are no more, --set model.num_classes={count}" if count < classes else ""
        warnings.warn(
            f"model.num_classes = {classes}, but {first.name} {found}: nothing is learned of {missing} {plural}. "
            f"{fewer or 'Labels count from 0'}",
            stacklevel=2,
        )


def _listed(names, word="and"):
    names = [str(name) for name in names]
    if len(names) > _SHOWN:
        names = [*names[: _SHOWN - 1], f"{len(names) - _SHOWN + 1} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {word} {names[-1]}"
