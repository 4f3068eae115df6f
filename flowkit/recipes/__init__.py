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

from flowkit.recipes.build import Experiment, build_flow, prepare
from flowkit.recipes.find import available, find
from flowkit.recipes.hold_out import hold_out
from flowkit.recipes.images import load_data
from flowkit.recipes.optimizer import build_optimizer
from flowkit.recipes.read import Override, parse_recipe, read_recipe
from flowkit.recipes.schema import Recipe, RecipeError
from flowkit.recipes.tables import load_other_table, load_table, of_tables
from flowkit.recipes.workers import for_workers
from flowkit.recipes.write import dumps

__all__ = [
    "Experiment",
    "Override",
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
    "load_other_table",
    "load_table",
    "of_tables",
    "parse_recipe",
    "prepare",
    "read_recipe",
]
