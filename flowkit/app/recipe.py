"""A recipe: its tables, their keys, types and defaults; reading it from TOML, and writing it."""

import inspect
import json
import re
import tomllib
import typing
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import keras
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    ValidationError,
    create_model,
    field_validator,
    model_validator,
)

from flowkit import data, training, zoo
from flowkit._shipped import closest
from flowkit.app.failure import RecipeError
from flowkit.app.find import find
from flowkit.contract.arguments import shown

# Arguments of zoo functions that follow from the data, and those that TOML cannot express.
_DERIVED = ("input_shape", "features", "context", "base", "embedding")
_STRICT = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

Count = Annotated[int, Field(ge=1)]
Side = Annotated[int, Field(ge=1, le=2**14)]
Rate = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, lt=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]


def optimizers():
    """Return name -> class of the optimizers that a recipe may name."""
    classes = filter(inspect.isclass, vars(keras.optimizers).values())
    keras_own = {kind.__name__.lower(): kind for kind in classes if issubclass(kind, keras.Optimizer)}
    return {**keras_own, "glow-adamax": training.GlowAdamax}


class DataTable(BaseModel):
    """[data]: what to train on; see `flowkit.data.load`."""

    model_config = _STRICT
    source: str
    size: Side | Annotated[list[Side], Field(min_length=2, max_length=2)] | None = None
    channels: Literal[1, 3] | None = None
    limit: Count | None = None
    max_bytes: Count = data.MAX_BYTES  # what the images may take
    crop: Side | None = None  # of this side: at random to train on, one for each image to test with
    augment: list[Literal["shift", "flip", "distort"]] = []  # training images, in this order
    # Hold out so many images or rows of the training split, or a share of them, to choose weights by; 0 holds out none.
    validation: NonNegativeInt | Share = 0
    # Of a mixed table, such as the recipe `table` takes: {column: type} in place of what is inferred, see
    # `flowkit.fit_table`; None: columns are numbers. `columns`: those to use, None for all but those in `drop`.
    types: dict[str, Any] | None = None
    columns: list[str] | None = None
    drop: list[str] = []
    given: list[str] = []  # what the others are conditioned on


class TrainingTable(BaseModel):
    """[training]: how."""

    model_config = _STRICT
    epochs: Count = 20
    epoch_steps: Count | None = None  # None: one pass over the data
    batch_size: Count = 64
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    # "flow_matching": the objective of that name; the context is dropped for a tenth of the rows if it is optional.
    loss: Literal["likelihood", "flow_matching"] = "likelihood"
    optimizer: Literal[*optimizers()] = "adam"
    learning_rate: Rate = 1e-3
    warmup_steps: NonNegativeInt = 0  # a tenth of a run that has no more steps
    warmup_epochs: NonNegativeFloat = 0.0  # unless there are steps
    schedule: Literal["constant", "cosine"] = "constant"
    # Glow's 1 - 1 / (steps in so many epochs): decay of averaged weights, and glow-adamax's beta_2.
    polyak_epochs: Rate | None = None
    # Decay of averaged weights; 0: no averaging; "auto": averages reach back a tenth of the run.
    ema: Decay | Literal["auto"] | None = None
    clip_norm: Rate | None = None  # of all gradients together
    beta_2: Share | None = None  # of the squares of gradients; None: the optimizer's own
    weight_decay: Rate | None = None  # times the learning rate; None: the optimizer's own
    precision: Literal["float32", "mixed_bfloat16"] = "float32"  # of the networks
    adapt_batch: Count = 256  # images or rows that ActNorm takes its statistics from
    checkpoint_minutes: Rate = 10.0  # between checkpoints within an epoch; the end of each writes one too
    patience: Count = 10  # steps in a row with bad gradients before training stops
    # Epochs in a row without a better validation score before it stops; 0: it goes on to the end.
    early_stopping: NonNegativeInt = 0
    keep_best: bool = False  # the weights of the epoch with the best validation score, not of the last


class SamplingTable(BaseModel):
    """[sampling]: the pictures."""

    model_config = _STRICT
    temperature: NonNegativeFloat = 0.7
    count: NonNegativeInt = 64  # 0: no pictures


class Recipe(BaseModel):
    """A validated recipe; `model` holds `name` and the keyword arguments of that zoo function."""

    model_config = _STRICT
    model: dict[str, Any]
    data: DataTable
    training: TrainingTable = TrainingTable()
    sampling: SamplingTable = SamplingTable()

    @field_validator("model")
    @classmethod
    def _all_arguments(cls, model):
        name = model.get("name")
        if not isinstance(name, str) or name not in zoo.ARCHITECTURES:
            raise RecipeError(
                f"model.name: got {shown(name)}, expected a family; {closest(str(name), zoo.ARCHITECTURES)}"
            )
        return validated(arguments_table(zoo.ARCHITECTURES[name]), model, "model").model_dump()

    @model_validator(mode="after")
    def _something_to_choose_by(self):
        for key in ("early_stopping", "keep_best"):
            if getattr(self.training, key) and not self.data.validation:
                raise RecipeError(
                    f"training.{key}: got data.validation = 0, expected a share above 0 to choose an epoch by"
                )
        return self

    def flat(self) -> dict[str, Any]:
        """Return {"model.levels": 3, ...}, also of keys that are None."""
        return {
            f"{table}.{key}": value
            for table, keys in self.model_dump().items()
            for key, value in keys.items()
        }


def validated(kind, tables, *outer):
    """Return `tables` as a pydantic model; raise a RecipeError with the first of pydantic's complaints."""
    try:
        return kind.model_validate(tables)
    except ValidationError as error:
        errors = error.errors(include_url=False)
    # A misspelt key is often why another is missing: it comes first.
    first = min(errors, key=lambda error: error["type"] != "extra_forbidden")
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, RecipeError):
        raise cause
    # Beyond table and key, pydantic names members of unions and positions in lists.
    path = [*outer, *map(str, first["loc"])][:2]
    key = ".".join(part[:80] for part in path)
    if first["type"] == "extra_forbidden":
        table = kind if outer or len(path) == 1 else kind.model_fields[path[0]].annotation
        raise RecipeError(f"{key} is not a key of a recipe; {closest(path[-1], table.model_fields)}")
    if first["type"] == "missing":
        raise RecipeError(f"{key} is missing")
    depth = len(path) - len(outer)
    expected = dict.fromkeys(e["msg"] for e in errors if e["loc"][:depth] == first["loc"][:depth])
    words = " or ".join(expected).replace("Input should be", "expected", 1).replace("Input should be ", "")
    got = "" if cause else f"got {shown(first['input'])}, "
    raise RecipeError(f"{key}: {got}{words.removeprefix('Value error, ')}")


def arguments_table(function):
    """Return a pydantic model of [model], made from the keyword-only arguments of a zoo function."""
    hints = typing.get_type_hints(function)
    fields = {"name": (str, ...)}
    for key, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY and key not in _DERIVED:
            required = parameter.default is parameter.empty
            fields[key] = (hints.get(key, Any), ... if required else parameter.default)
    return create_model(function.__name__, __config__=_STRICT, **fields)


def setting(option, text, expected):
    """Return (key, value) of an option such as `training.epochs=3`; raise a RecipeError with what is expected.

    `none` is None, and another value that is not TOML a string.
    """
    key, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not key:
        raise RecipeError(f"{option}: got {text[:80]}, expected {expected}")
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):
        return key, None if value == "none" else value


def read_recipe(name: str, overrides: Sequence[str | tuple[str, Any]] = ()) -> Recipe:
    """Read and validate a recipe, by file or name, with `overrides` in place of its values.

    `overrides` are strings such as `"model.steps=8"`, or pairs such as `("model.steps", 8)`. Raises a RecipeError that
    names the file and the key.
    """
    path = find(name)
    text = path.read_text(encoding="utf-8-sig")  # editors on Windows begin a file with a mark
    return parse_recipe(text, overrides, where=str(path))


def parse_recipe(text: str, overrides: Sequence[str | tuple[str, Any]] = (), where: str = "recipe") -> Recipe:
    """Validate the text of a recipe, as `read_recipe` does.

    >>> text = '[model]\\nname = "glow"\\nlevels = 2\\n[data]\\nsource = "fashion-mnist"'
    >>> recipe = parse_recipe(text, overrides=["training.epochs=3"])
    >>> recipe.model["steps"], recipe.training.epochs, recipe.training.optimizer
    (32, 3, 'adam')
    """
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"{where}: not valid TOML: {error}") from None
    for override in overrides:
        expected = "table.key=value, such as model.steps=8"
        place, value = setting("--set", override, expected) if isinstance(override, str) else override
        table, _, key = place.partition(".")
        if not key or not isinstance(tables.setdefault(table, {}), dict):
            raise RecipeError(f"--set: got {place[:80]}, expected {expected}")
        tables[table][key] = value
    try:
        return validated(Recipe, tables)
    except RecipeError as error:
        raise RecipeError(f"{where}: {error}") from None


def dumps(tables: Recipe | dict[str, Any]) -> str:
    """Return the text of a recipe (or of plain tables); `tomllib.loads(dumps(tables)) == tables`.

    Keys that are None are comments, `# limit = none`, since TOML has no word for it.

    >>> print(dumps({"training": {"learning_rate": 1e-05, "optimizer": "adam"}}), end="")
    [training]
    learning_rate = 1e-05
    optimizer = "adam"
    """
    if isinstance(tables, Recipe):
        tables = tables.model_dump()
    blocks = []
    for name, table in tables.items():
        lines = [
            f"# {_key(key)} = none\n" if value is None else f"{_key(key)} = {_value(value)}\n"
            for key, value in table.items()
        ]
        blocks.append(f"[{_key(name)}]\n{''.join(lines)}")
    return "\n".join(blocks)


def _key(key):
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _value(key)


def _value(value):
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_key(key)} = {_value(entry)}' for key, entry in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    # Numbers, strings and booleans are those of JSON, but for one character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
