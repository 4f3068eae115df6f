"""[data] validation: rows of the training split that nothing is trained on, to choose by."""

from dataclasses import replace

import numpy as np

from flowkit import data
from flowkit.recipes.schema import Recipe, RecipeError


def hold_out(
    recipe: Recipe, dataset: data.Dataset | data.Table
) -> tuple[data.Dataset | data.Table, data.Dataset | data.Table | None]:
    """(what is trained on, what is held out or None) of the training split `dataset`, drawn by `training.seed`.

    The test split has no part in it. Raises a RecipeError if nothing would be left on one of the two sides.
    """
    share, count = recipe.data.validation, len(dataset)
    if not share:
        return dataset, None
    held = max(1, round(share * count)) if isinstance(share, float) else share
    if held >= count:
        raise RecipeError(
            f"data.validation = {share}: expected fewer than the {count} rows or images of {dataset.name}, "
            f"so that some are left to train on, received {held}. Give more data, or hold fewer out: "
            "--set data.validation=0"
        )
    order = np.random.default_rng(recipe.training.seed).permutation(count)
    return _rows(dataset, np.sort(order[held:])), _rows(dataset, np.sort(order[:held]))


def split_of(recipe: Recipe, split: str, load):
    """What `load(recipe, "train" or "test")` has of `split`: "train", "validation" or "test".

    Raises a RecipeError for "validation" if the recipe holds none out.
    """
    if split == "test":
        return load(recipe, split)
    if split == "validation" and not recipe.data.validation:
        raise RecipeError("data.validation = 0: the recipe holds no rows out to validate on")
    train, held = hold_out(recipe, load(recipe, "train" if split == "validation" else split))
    return held if split == "validation" else train


def _rows(dataset, rows):
    if isinstance(dataset, data.Table):
        return replace(dataset, values=dataset.values[rows])
    labels = None if dataset.labels is None else dataset.labels[rows]
    lazy = isinstance(dataset.images, data.LazyImages)
    return replace(
        dataset, images=dataset.images.taken(rows) if lazy else dataset.images[rows], labels=labels
    )
