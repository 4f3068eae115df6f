"""[data] becomes images, and what happens to them in training."""

from dataclasses import replace

import numpy as np

from flowkit import data, distributed
from flowkit.recipes.schema import Recipe, RecipeError


def load_data(recipe: Recipe, split: str) -> data.Dataset:
    """The recipe's data set, "train" or "test", as the model takes it; raises what `flowkit.data.load` does.

    With `crop`, each image gives one square of it, always the same. In a group of processes images stay on the disk if
    they can, and each process reads the rows that it comes to.
    """
    dataset = load_uncropped(recipe, split)
    if recipe.data.crop is None:
        return dataset
    images, side = dataset.images, recipe.data.crop
    top, left = data.augment.corners(images.shape, side, np.random.default_rng(0))

    def squares(rows):
        return data.augment.cut(images[rows], side, top[rows], left[rows])

    if isinstance(images, data.LazyImages):
        return replace(dataset, images=data.LazyImages(squares, (len(images), side, side, images.shape[3])))
    return replace(dataset, images=squares(slice(None)))


def load_uncropped(recipe, split):
    """`load_data`, with whole images if the recipe has a `crop`, as `augmentations` take them."""
    table = recipe.data
    size = tuple(table.size) if isinstance(table.size, list) else table.size
    try:
        data.absolute(table.source)
    except (FileNotFoundError, ValueError) as error:
        raise RecipeError(
            f"data.source: {error} --data PATH gives your copy; the first lines of flowkit's recipes say what "
            "it must hold."
        ) from None
    dataset = data.load(
        table.source,
        split,
        size=size,
        channels=table.channels,
        limit=table.limit,
        max_bytes=table.max_bytes,
        in_memory=distributed.world() == 1,
    )
    height, width = dataset.images.shape[1:3]
    if table.crop is not None and table.crop > min(height, width):
        raise RecipeError(
            f"data.crop = {table.crop}: expected at most {min(height, width)}, since the images of "
            f"{dataset.name} are {width}x{height}"
        )
    return dataset


def augmentations(recipe):
    """What happens to a batch of training images: functions of (images, rng), in their order."""
    crop = [] if recipe.data.crop is None else [data.augment.crop(recipe.data.crop)]
    return crop + [getattr(data.augment, name)() for name in recipe.data.augment]


def image_shape(recipe, dataset):
    """(height, width, channels) of what the model is given."""
    *sides, channels = dataset.images.shape[1:]
    return (*sides, channels) if recipe.data.crop is None else (recipe.data.crop, recipe.data.crop, channels)
