"""From the text of a recipe to a validated one, or to one line that says what is wrong where."""

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from flowkit import zoo
from flowkit.contract.arguments import shown
from flowkit.recipes.explain import explained, place_of
from flowkit.recipes.find import find
from flowkit.recipes.schema import Recipe, RecipeError, arguments_table, did_you_mean


@dataclass(frozen=True)
class Override:
    """A value that takes the place of a recipe's, and how the user gave it, for messages."""

    key: str
    value: Any
    label: str = "--set"

    @classmethod
    def parse(cls, text: str) -> "Override":
        """`training.epochs=3` -> Override; what is not TOML is taken as a string."""
        key, equals, value = text.partition("=")
        key, value = key.strip(), value.strip()
        if not equals or key.count(".") != 1:
            raise RecipeError(f"--set {text[:80]}: expected table.key=value, such as model.steps=8")
        try:
            return cls(key, _parsed(f"value = {value}")["value"])
        except ValueError:
            if re.search(r"[\"'\[\]{}=\n]", value) or not value:
                raise RecipeError(f"--set {text[:80]}: {shown(value)} is not a TOML value") from None
            return cls(key, value)


def read_recipe(name: str, overrides: Sequence["str | Override"] = ()) -> Recipe:
    """Read and validate a recipe, by file or name, with `overrides` in place of its values.

    `overrides` are strings such as `"model.steps=8"`, or `Override`s. Raises a RecipeError that
    names the file and line, or the override, if something is not as it should be.
    """
    path = find(name)
    try:
        text = path.read_bytes().decode("utf-8-sig")  # editors on Windows begin a file with a mark
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(
            f"{path}: cannot be read as text ({getattr(error, 'strerror', None) or error})"
        ) from None
    return parse_recipe(text, overrides, where=str(path))


def parse_recipe(text: str, overrides: Sequence["str | Override"] = (), where: str = "recipe") -> Recipe:
    """`read_recipe`, from the text of a recipe."""
    try:
        tables = _parsed(text)
    except ValueError as error:
        line = re.search(r"\(at line (\d+), column \d+\)", str(error))
        place = f"{where}:{line[1]}" if line else f"{where}:{text.count(chr(10)) + 1}"
        reason = re.sub(r" \(at .*\)$", "", str(error))
        raise RecipeError(f"{place}: not valid TOML: {reason}") from None
    overrides = [Override.parse(o) if isinstance(o, str) else o for o in overrides]
    labels = {}
    for override in overrides:
        table, _, key = override.key.partition(".")
        if table not in tables:
            labels[(table,)] = override.label
        if not isinstance(tables.setdefault(table, {}), dict):
            raise RecipeError(f"{place_of(where, text, (table,))}: {table}: expected a table")
        tables[table][key] = override.value
        labels[(table, key)] = override.label
    try:
        recipe = Recipe.model_validate(tables)
        model = _model_table(recipe.model, lambda path: place_of(where, text, path, labels))
    except ValidationError as error:
        raise explained(error, Recipe, (), tables, where, text, labels) from None
    try:
        arguments = model.model_validate(recipe.model)
    except ValidationError as error:
        raise explained(error, model, ("model",), tables, where, text, labels) from None
    _check_choices(recipe, lambda path: place_of(where, text, path, labels))
    return recipe.model_copy(update={"model": arguments.model_dump()})


def _check_choices(recipe, place):
    """Raise a RecipeError if something is to be chosen by a score that nobody takes."""
    for key in ("early_stopping", "keep_best"):
        if (value := getattr(recipe.training, key)) and not recipe.data.validation:
            off = f" (or {'false' if value is True else 0} here)"
            raise RecipeError(
                f"{place(('training', key))}: training.{key}: expected data.validation above 0 to choose by, received "
                f"{recipe.data.validation}{off}"
            )


_DEEPEST = 100


def _parsed(text):
    """The tables of a TOML text. Raises a ValueError if it is none."""
    try:
        tables = tomllib.loads(text)
        if _depth(tables) < _DEEPEST:
            return tables
    except RecursionError:  # how soon it comes depends on the program around
        pass
    raise tomllib.TOMLDecodeError("lists or tables within each other, hundreds deep")


def _depth(value):
    """How many lists and tables are within each other."""
    depth, level = 0, [value]
    while level:
        inner = [v.values() if isinstance(v, dict) else v for v in level if isinstance(v, dict | list)]
        depth, level = depth + 1, [part for parts in inner for part in parts]
    return depth


def _model_table(given, place):
    """A pydantic model of [model], made from the zoo function's signature."""
    name = given.get("name")
    if not isinstance(name, str) or name not in zoo.ARCHITECTURES:
        received = "nothing" if name is None else shown(name)
        hint = did_you_mean(name, zoo.ARCHITECTURES) if isinstance(name, str) else ""
        raise RecipeError(
            f"{place(('model', 'name'))}: model.name: expected one of "
            f"{', '.join(zoo.ARCHITECTURES)}, received {received}{hint}"
        )
    return arguments_table(zoo.ARCHITECTURES[name])
