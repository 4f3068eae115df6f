"""A recipe, a TOML file with [model], [data], [training] and [sampling], becomes a flow to train.

>>> recipe = parse_recipe('''
... [model]
... name = "glow"
... levels = 2
... [data]
... source = "fashion-mnist"
... ''', overrides=["training.epochs=3"])
>>> recipe.model["steps"], recipe.training.epochs, recipe.training.optimizer
(32, 3, 'adam')
"""

from flowkit._shipped import recipe_files as available
from flowkit.app.experiment import (
    Experiment,
    build_flow,
    build_optimizer,
    for_workers,
    hold_out,
    of_tables,
    prepare,
)
from flowkit.app.experiment import load as load_data
from flowkit.app.experiment import load as load_table
from flowkit.app.failure import RecipeError
from flowkit.app.find import find
from flowkit.app.recipe import Recipe, dumps, parse_recipe, read_recipe

__all__ = [
    "Experiment",
    "Recipe",
    "RecipeError",
    "available",
    "build_flow",
    "build_optimizer",
    "dumps",
    "find",
    "for_workers",
    "hold_out",
    "load_data",
    "load_table",
    "of_tables",
    "parse_recipe",
    "prepare",
    "read_recipe",
]
