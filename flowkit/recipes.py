"""A recipe, a TOML file with [model], [data], [training] and [sampling], becomes a flow to train.

>>> recipe = loads('''
... [model]
... name = "glow"
... levels = 2
... [data]
... source = "fashion-mnist"
... ''', overrides=["training.epochs=3"])
>>> recipe.model["steps"], recipe.training.epochs, recipe.training.optimizer
(32, 3, 'adam')
"""

import difflib
import inspect
import re
import tomllib
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import keras
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, field_validator

import flowkit
from flowkit import data, training, zoo

_DERIVED = ("input_shape",)  # arguments of zoo functions that follow from the data
_STRICT = ConfigDict(extra="forbid", strict=True, frozen=True)

Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class RecipeError(ValueError):
    """A recipe that cannot be used: one line that says where, what was expected and what came."""


class DataTable(BaseModel):
    """[data]: what to train on; see `flowkit.data.load`."""

    model_config = _STRICT
    source: str
    size: Count | list[Count] | None = None
    channels: Literal[1, 3] | None = None
    limit: Count | None = None


class TrainingTable(BaseModel):
    """[training]: how."""

    model_config = _STRICT
    epochs: Count = 20
    batch_size: Count = 64
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    optimizer: str = "adam"
    learning_rate: Rate = 1e-3
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    schedule: Literal["constant", "cosine"] = "constant"
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0  # 0: no averaging
    clip_norm: Rate | None = None  # of all gradients together
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    adapt_batch: Count = 256  # images that ActNorm takes its statistics from
    patience: Count = 10  # steps in a row with bad gradients before training stops

    @field_validator("optimizer")
    @classmethod
    def _known_optimizer(cls, name):
        known = _optimizers()
        if name not in known:
            raise ValueError(f"expected one of {', '.join(known)}{_nearest(name, known)}")
        return name


class SamplingTable(BaseModel):
    """[sampling]: the pictures."""

    model_config = _STRICT
    temperature: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.7
    count: Count = 64


class Recipe(BaseModel):
    """A validated recipe; `model` holds `name` and the keyword arguments of that zoo function."""

    model_config = _STRICT
    model: dict[str, Any]
    data: DataTable
    training: TrainingTable = TrainingTable()
    sampling: SamplingTable = SamplingTable()

    def tables(self):
        """The recipe as plain tables, without what is None, which TOML cannot say."""
        return self.model_dump(exclude_none=True)


@dataclass(frozen=True)
class Override:
    """A value that takes the place of a recipe's, and how the user gave it, for messages."""

    key: str
    value: Any
    label: str = "--set"

    @classmethod
    def parse(cls, text):
        """`training.epochs=3` -> Override; what is not TOML is taken as a string."""
        key, equals, value = text.partition("=")
        key, value = key.strip(), value.strip()
        if not equals or key.count(".") != 1:
            raise RecipeError(f"--set {text}: expected table.key=value, such as model.steps=8")
        try:
            return cls(key, tomllib.loads(f"value = {value}")["value"])
        except tomllib.TOMLDecodeError:
            if re.search(r"[\"'\[\]{}=\n]", value) or not value:
                raise RecipeError(f"--set {text}: {value!r} is not a TOML value") from None
            return cls(key, value)


def find(name):
    """The path of a recipe: a file, or a name such as `glow/digits` among those of flowkit.

    Raises a RecipeError that lists the nearest names where there is none.
    """
    path = Path(name)
    if path.is_file():
        return path
    known = available()
    if name in known:
        return known[name]
    if path.suffix == ".toml" or path.exists():
        raise RecipeError(f"{name}: expected a recipe file, found none there")
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or sorted(known)
    raise RecipeError(f"there is no recipe {name!r}; the nearest are {', '.join(near)}")


def available():
    """Name -> path of the recipes that come with flowkit."""
    package = Path(flowkit.__file__).parent
    checkout = package.parent / "zoo"
    folder = package / "zoo" / "recipes"  # in an installed wheel
    if (package.parent / "pyproject.toml").is_file() and checkout.is_dir():
        folder = checkout
    return {
        path.relative_to(folder).with_suffix("").as_posix(): path
        for path in sorted(folder.glob("*/*.toml"))
    }


def load(name, overrides=()):
    """Read and validate a recipe, by file or name, with `overrides` in place of its values.

    `overrides` are strings such as `"model.steps=8"`, or `Override`s. Raises a RecipeError that
    names the file and line, or the override, where something is not as it should be.
    """
    path = find(name)
    try:
        text = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read as text ({error})") from None
    return loads(text, overrides, where=str(path))


def loads(text, overrides=(), where="recipe"):
    """`load`, from the text of a recipe."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"\(at line (\d+), column \d+\)", str(error))
        place = f"{where}:{line[1]}" if line else f"{where}:{text.count(chr(10)) + 1}"
        reason = re.sub(r" \(at .*\)$", "", str(error))
        raise RecipeError(f"{place}: not valid TOML: {reason}") from None
    overrides = [Override.parse(o) if isinstance(o, str) else o for o in overrides]
    labels = {}
    for override in overrides:
        table, _, key = override.key.partition(".")
        if not isinstance(tables.setdefault(table, {}), dict):
            raise RecipeError(f"{_place(where, text, (table,))}: {table}: expected a table")
        tables[table][key] = override.value
        labels[(table, key)] = f"{override.label} {override.key}".removesuffix(" ")
    try:
        recipe = Recipe.model_validate(tables)
        model = _model_table(recipe.model, lambda path: _place(where, text, path, labels))
    except ValidationError as error:
        raise _explained(error, Recipe, (), tables, where, text, labels) from None
    try:
        arguments = model.model_validate(recipe.model)
    except ValidationError as error:
        raise _explained(error, model, ("model",), tables, where, text, labels) from None
    return recipe.model_copy(update={"model": arguments.model_dump()})


def _model_table(given, place):
    """A pydantic model of [model], made from the zoo function's signature."""
    name = given.get("name")
    if name not in zoo.__all__:
        received = "nothing" if name is None else repr(name)
        hint = _nearest(name, zoo.__all__) if isinstance(name, str) else ""
        raise RecipeError(
            f"{place(('model', 'name'))}: model.name: expected one of "
            f"{', '.join(zoo.__all__)}, received {received}{hint}"
        )
    function = getattr(zoo, name)
    hints = typing.get_type_hints(function)
    fields = {"name": (str, ...)}
    for key, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY and key not in _DERIVED:
            fields[key] = _field(hints.get(key), parameter.default)
    return create_model(f"{name}'s", __config__=_STRICT, **fields)


def _field(hint, default):
    if default is inspect.Parameter.empty:
        return (hint or Any, ...)
    if hint is None:
        # Unannotated: the default says the type; None stands for a whole number that is not given.
        hint = int | None if default is None else type(default)
    return (hint, default)


def _explained(error, model, prefix, tables, where, text, labels):
    """The first of pydantic's complaints as one line in the recipe's own terms."""
    first, *others = error.errors(include_url=False)
    path = [*prefix, *first["loc"]]
    # Beyond table and key, pydantic names members of unions and positions in lists.
    path = tuple(str(part) for part in path[:2])
    key = ".".join(path)
    value = _at(tables, path)
    place = _place(where, text, path, labels)
    if first["type"] == "extra_forbidden":
        what = "is not a table" if len(path) == 1 else f"is not a key of [{path[0]}]"
        message = f"{key} {what}{_nearest(path[-1], _names(model, path, prefix))}"
    elif first["type"] == "missing":
        message = f"{key} is missing"
    elif first["type"] == "value_error":
        message = f"{key}: {first['ctx']['error']}, received {value!r}"
    else:
        expected = re.sub(r"^Input should be (a valid )?", "", first["msg"])
        expected = " or ".join(
            dict.fromkeys(
                re.sub(r"^Input should be (a valid )?", "", e["msg"])
                for e in [first, *others]
                if tuple(str(p) for p in [*prefix, *e["loc"]][:2]) == path
            )
        ) or expected
        kind = "" if value is None else f" ({_kind(value)})"
        message = f"{key}: expected {_worded(expected)}, received {value!r}{kind}"
    keys = {tuple(str(p) for p in [*prefix, *e["loc"]][:2]) for e in others} - {path}
    more = f" (and {len(keys)} more)" if keys else ""
    return RecipeError(f"{place}: {message}{more}")


_KINDS = {int: "whole number", float: "number", str: "string", bool: "true or false"}


def _worded(expected):
    words = {"integer": "a whole number", "boolean": "true or false", "list": "a list"}
    words |= {"string": "a string", "number": "a number", "dictionary": "a table"}
    parts = [words.get(part, part) for part in expected.split(" or ")]
    return " or ".join(parts)


def _kind(value):
    return _KINDS.get(type(value), "list" if isinstance(value, list) else "table")


def _names(model, path, prefix):
    if prefix or len(path) == 1:
        return list(model.model_fields)
    return list(model.model_fields[path[0]].annotation.model_fields)


def _nearest(name, known):
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}"


def _at(tables, path):
    value = tables
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _place(where, text, path, labels=None):
    """`file:line` of a key, or of the table it is missing from, or the override that set it."""
    if labels and path in labels:
        return labels[path]
    table, best, found = (), 0, None
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[\s*([^\[\]]+?)\s*\]", line):
            table = here = tuple(part.strip(" \"'") for part in header[1].split("."))
        elif key := re.match(r"\s*([\w.\"' -]+?)\s*=", line):
            here = table + tuple(part.strip(" \"'") for part in key[1].split("."))
        else:
            continue
        if best < len(here) and here == path[: len(here)]:
            best, found = len(here), number
    return where if found is None else f"{where}:{found}"


# TOML out: tomllib only reads


def dumps(tables):
    """The text of a recipe (or of plain tables); `tomllib.loads(dumps(tables)) == tables`.

    >>> print(dumps({"training": {"learning_rate": 1e-05, "optimizer": "adam"}}), end="")
    [training]
    learning_rate = 1e-05
    optimizer = "adam"
    """
    if isinstance(tables, Recipe):
        tables = tables.tables()
    blocks = []
    for name, table in tables.items():
        lines = [f"{_toml(key)} = {_toml_value(value)}\n" for key, value in table.items()]
        blocks.append(f"[{_toml(name)}]\n{''.join(lines)}")
    return "\n".join(blocks)


def _toml(key):
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _toml_string(key)


def _toml_value(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return _toml_string(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml_value, value))}]"
    raise TypeError(f"TOML has no {type(value).__name__}: received {value!r}.")


def _toml_string(text):
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + re.sub(r"[\x00-\x1f\x7f]", lambda c: f"\\u{ord(c[0]):04x}", escaped) + '"'


# From a recipe to things


@dataclass(frozen=True)
class Experiment:
    """All that a run needs: a compiled and adapted flow, and its data in an order that resumes."""

    recipe: Recipe
    flow: Any
    train: data.Dataset
    test: data.Dataset
    batches: data.Batches
    classes: int | None

    def context(self, dataset):
        """The labels that the model is conditioned on, or None."""
        return None if self.classes is None else dataset.labels


def dataset(recipe, split):
    """The recipe's data set, "train" or "test"; raises what `flowkit.data.load` does."""
    table = recipe.data
    size = tuple(table.size) if isinstance(table.size, list) else table.size
    return data.load(table.source, split, size=size, channels=table.channels, limit=table.limit)


def build_flow(recipe, images):
    """The recipe's flow for the data set `images`, neither compiled nor adapted.

    `input_shape` and, where an image does not have 256 values, `data_levels` come from the data.
    Raises a RecipeError where the model cannot be made for that data.
    """
    arguments = {key: value for key, value in recipe.model.items() if value is not None}
    function = getattr(zoo, arguments.pop("name"))
    takes = inspect.signature(function).parameters
    if "data_levels" in takes and images.levels != 256:
        arguments.setdefault("data_levels", images.levels)
    classes = arguments.get("num_classes")
    if classes is not None and (images.labels is None or images.labels.max() >= classes):
        found = "no labels" if images.labels is None else f"labels up to {images.labels.max()}"
        raise RecipeError(f"model.num_classes = {classes}, but {images.name} has {found}")
    try:
        return function(input_shape=tuple(images.images.shape[1:]), **arguments)
    except ValueError as error:
        raise RecipeError(f"[model] does not fit {images.name}: {error}") from error


def build_optimizer(recipe, steps_per_epoch):
    """The recipe's optimizer: schedule, clipping and averaging, guarded against bad steps."""
    table = recipe.training
    total = table.epochs * steps_per_epoch
    if table.schedule == "cosine":
        if total <= table.warmup_steps:
            raise RecipeError(
                f"training.warmup_steps = {table.warmup_steps}, but the whole run has {total} "
                "steps: expected fewer"
            )
        rate = training.WarmUpCosine(
            table.learning_rate, warmup_steps=table.warmup_steps, total_steps=total
        )
    else:
        rate = training.WarmUp(table.learning_rate, warmup_steps=table.warmup_steps)
    inner = _optimizers()[table.optimizer](
        rate,
        global_clipnorm=table.clip_norm,
        use_ema=table.ema > 0,
        ema_momentum=table.ema or 0.99,
    )
    return training.GuardedOptimizer(inner)


def prepare(recipe):
    """An `Experiment`, ready for `fit`: seeds set, flow built, adapted and compiled.

    Sets Keras's random seed and its dtype policy for the session.
    """
    table = recipe.training
    keras.utils.set_random_seed(table.seed)
    keras.config.set_dtype_policy(table.precision)
    train, test = dataset(recipe, "train"), dataset(recipe, "test")
    flow = build_flow(recipe, train)
    classes = recipe.model.get("num_classes")
    labels = None if classes is None else train.labels
    ordered = data.batches(train.images, labels, batch_size=table.batch_size, seed=table.seed)
    rows = np.random.default_rng(table.seed).permutation(len(train))[: table.adapt_batch]
    flow.adapt(train.images[rows], None if labels is None else labels[rows])
    flow.compile(optimizer=build_optimizer(recipe, len(ordered)))
    return Experiment(recipe, flow, train, test, ordered, classes)


def _optimizers():
    return {
        name.lower(): optimizer
        for name, optimizer in sorted(vars(keras.optimizers).items())
        if inspect.isclass(optimizer)
        and issubclass(optimizer, keras.optimizers.Optimizer)
        and name not in ("Optimizer", "LossScaleOptimizer", "MultiOptimizer")
    }
