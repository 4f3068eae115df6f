"""[data] becomes a table, for a model of vectors."""

import inspect

from flowkit import data, zoo
from flowkit.recipes.hold_out import split_of
from flowkit.recipes.schema import Recipe, RecipeError

_OF_IMAGES = ("size", "channels", "crop", "augment")  # keys of [data] that say nothing of a table


def of_tables(recipe: Recipe) -> bool:
    """Whether the recipe's model takes the rows of a table, and not images."""
    return "features" in inspect.signature(zoo.ARCHITECTURES[recipe.model["name"]]).parameters


def load_table(recipe: Recipe, split: str) -> data.Table:
    """The recipe's table, "train", "validation" or "test", of which the first is without the second.

    Raises RecipeError for keys of images, and what `data.load_table` does.
    """
    return split_of(recipe, split, load_whole)


def load_other_table(recipe: Recipe) -> data.Table:
    """The recipe's table if nothing was trained on it: all rows, unless its file has test rows of its own.

    Raises what `load_table` does.
    """
    return load_whole(recipe, "test", cut=False)


def load_whole(recipe, split, *, cut=True):
    """`load_table`, "train" with what is held out of it. Not `cut`: all rows of a file without splits of its own."""
    table = recipe.data
    for key in _OF_IMAGES:
        if getattr(table, key):
            raise RecipeError(
                f"data.{key}: expected none for {recipe.model['name']}, which takes tables, received "
                f"{getattr(table, key)!r}"
            )
    if table.source in data.NAMES:
        raise RecipeError(
            f"data.source = {table.source!r}: expected a table for {recipe.model['name']}, received images. --data "
            "PATH gives a .csv, .tsv, .parquet, .npy or .npz file."
        )
    try:
        return data.load_table(table.source, split, cut=cut, limit=table.limit, max_bytes=table.max_bytes)
    except FileNotFoundError as error:
        raise RecipeError(
            f"data.source: {error} --data PATH gives your table; the first lines of flowkit's recipes say what it must "
            "hold."
        ) from None


def check_tables(train: data.Table, test: data.Table) -> None:
    """Raise a RecipeError if the rows to test with could not be scored."""
    if train.values.shape[1] != test.values.shape[1]:
        raise RecipeError(
            f"{test.name}: expected {train.values.shape[1]} columns to test with, as to train on, received "
            f"{test.values.shape[1]}"
        )
