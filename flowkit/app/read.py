"""Read a recipe: TOML in, a validated recipe out, or one line that says what is wrong and where."""

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from flowkit import zoo
from flowkit.app.failure import RecipeError
from flowkit.app.find import find
from flowkit.app.schema import Recipe, arguments_table, did_you_mean
from flowkit.contract.arguments import shown

_DEEPEST = 100  # lists and tables within each other
_KINDS = {
    int: "whole number",
    float: "number",
    str: "string",
    bool: "true or false",
    list: "list",
    dict: "table",
}
# pydantic's words for types, and those of messages.
_WORDS = {
    "integer": "a whole number",
    "number": "a number",
    "string": "a string",
    "boolean": "true or false",
    "list": "a list",
    "dictionary": "a table",
}


@dataclass(frozen=True)
class Override:
    """A value that replaces a recipe's, and the option that it came by, for messages."""

    key: str
    value: Any
    label: str = "--set"

    @classmethod
    def parse(cls, text: str) -> "Override":
        """Return the Override of `training.epochs=3`; a value that is not TOML is taken as a string."""
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
    names the file and line, or the override.
    """
    path = find(name)
    try:
        text = path.read_bytes().decode("utf-8-sig")  # editors on Windows begin a file with a mark
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RecipeError(f"{path}: cannot be read as text ({reason})") from None
    return parse_recipe(text, overrides, where=str(path))


def parse_recipe(text: str, overrides: Sequence["str | Override"] = (), where: str = "recipe") -> Recipe:
    """Validate the text of a recipe, as `read_recipe` does."""
    try:
        tables = _parsed(text)
    except ValueError as error:
        line = re.search(r"\(at line (\d+), column \d+\)", str(error))
        number = line[1] if line else text.count("\n") + 1
        reason = re.sub(r" \(at .*\)$", "", str(error))
        raise RecipeError(f"{where}:{number}: not valid TOML: {reason}") from None
    given = _Given(where, text, tables, labels={})
    for override in overrides:
        given.replace(Override.parse(override) if isinstance(override, str) else override)
    try:
        recipe = Recipe.model_validate(tables)
    except ValidationError as error:
        raise given.explained(error, Recipe) from None
    model = _model_table(recipe.model, given)
    try:
        arguments = model.model_validate(recipe.model)
    except ValidationError as error:
        raise given.explained(error, model, ("model",)) from None
    for key in ("early_stopping", "keep_best"):
        if (value := getattr(recipe.training, key)) and not recipe.data.validation:
            off = f" (or {'false' if value is True else 0} here)"
            raise RecipeError(
                f"{given.place(('training', key))}: training.{key}: expected data.validation above 0 to choose by, "
                f"received {recipe.data.validation}{off}"
            )
    return recipe.model_copy(update={"model": arguments.model_dump()})


def _parsed(text):
    """Return the tables of a TOML text; raise ValueError for another text."""
    try:
        tables = tomllib.loads(text)
        if _depth(tables) < _DEEPEST:
            return tables
    except RecursionError:  # how soon it comes depends on the program around
        pass
    raise tomllib.TOMLDecodeError("lists or tables within each other, hundreds deep")


def _depth(value):
    depth, level = 0, [value]
    while level:
        inner = [v.values() if isinstance(v, dict) else v for v in level if isinstance(v, dict | list)]
        depth, level = depth + 1, [part for parts in inner for part in parts]
    return depth


def _model_table(model, given):
    """Return a pydantic model of [model], made from the zoo function's signature."""
    name = model.get("name")
    if not isinstance(name, str) or name not in zoo.ARCHITECTURES:
        received = "nothing" if name is None else shown(name)
        hint = did_you_mean(name, zoo.ARCHITECTURES) if isinstance(name, str) else ""
        raise RecipeError(
            f"{given.place(('model', 'name'))}: model.name: expected one of {', '.join(zoo.ARCHITECTURES)}, "
            f"received {received}{hint}"
        )
    return arguments_table(zoo.ARCHITECTURES[name])


@dataclass
class _Given:
    """The text and the tables of a recipe, and the labels of the overrides in them: places for messages."""

    where: str
    text: str
    tables: dict[str, Any]
    labels: dict[tuple[str, ...], str]

    def replace(self, override):
        table, _, key = override.key.partition(".")
        if table not in self.tables:
            self.labels[(table,)] = override.label
        if not isinstance(self.tables.setdefault(table, {}), dict):
            raise RecipeError(f"{self.place((table,))}: {table}: expected a table")
        self.tables[table][key] = override.value
        self.labels[(table, key)] = override.label

    def place(self, path):
        """Return `file:line` of a key, or of the table that it is missing from, or the override that set it."""
        if path in self.labels:
            return self.labels[path]
        table, best, found = (), 0, None
        for number, line in enumerate(self.text.splitlines(), 1):
            if header := re.match(r"\s*\[\s*([^\[\]]+?)\s*\]", line):
                table = here = _keys(header[1])
            elif key := re.match(r"\s*([\w.\"' -]+?)\s*=", line):
                here = table + _keys(key[1])
            else:
                continue
            if best < len(here) and here == path[: len(here)]:
                best, found = len(here), number
        return self.where if found is None else f"{self.where}:{found}"

    def explained(self, error, model, prefix=()):
        """Return a RecipeError with the first of pydantic's complaints in the recipe's own terms."""
        errors = error.errors(include_url=False)
        # Beyond table and key, pydantic names members of unions and positions in lists.
        paths = [tuple(str(part) for part in [*prefix, *e["loc"]][:2]) for e in errors]
        # A misspelt key is often why another is missing: it comes first.
        first = min(range(len(errors)), key=lambda i: errors[i]["type"] != "extra_forbidden")
        path, kind = paths[first], errors[first]["type"]
        key = ".".join(part[:80] for part in path)
        if kind == "extra_forbidden":
            of_tables = prefix or len(path) == 1
            known = (model if of_tables else model.model_fields[path[0]].annotation).model_fields
            what = "is not a table" if len(path) == 1 else f"is not a key of [{path[0]}]"
            message = f"{key} {what}{did_you_mean(path[-1], list(known))}"
        elif kind == "missing":
            message = f"{key} is missing"
        elif kind == "value_error":
            message = f"{key}: {errors[first]['ctx']['error']}"
        else:
            alternatives = [_worded(e["msg"]) for e, p in zip(errors, paths, strict=True) if p == path]
            value = self.tables
            for part in path:
                value = value.get(part) if isinstance(value, dict) else None
            received = f"{shown(value)} ({_KINDS.get(type(value), 'date or time')})"
            message = f"{key}: expected {' or '.join(dict.fromkeys(alternatives))}, received {received}"
        others = len(set(paths)) - 1
        return RecipeError(f"{self.place(path)}: {message}{f' (and {others} more)' * bool(others)}")


def _keys(dotted):
    return tuple(part.strip(" \"'") for part in dotted.split("."))


def _worded(message):
    expected = re.sub(r"^Input should be (a valid )?", "", message)
    # 1e+38 has many digits.
    expected = re.sub(r"(?<![\d.])\d{12,}", lambda number: f"{float(number[0]):g}", expected)
    return _WORDS.get(expected, expected)
