"""The tables of a recipe, their keys, types and defaults; and a recipe as TOML."""

import difflib
import inspect
import json
import re
import typing
from typing import Annotated, Any, Literal

import keras
from pydantic import BaseModel, ConfigDict, Field, create_model, field_validator, model_validator

from flowkit import data, training
from flowkit.contract.arguments import shown

# Arguments of zoo functions that follow from the data, and those that TOML cannot express.
_DERIVED = ("input_shape", "features", "context", "base", "embedding")
_STRICT = ConfigDict(extra="forbid", strict=True, frozen=True)

# What the engines' whole numbers and float32 can hold.
_INT, _FLOAT = 2**31 - 1, 1e38

Count = Annotated[int, Field(ge=1, le=_INT)]
Side = Annotated[int, Field(ge=1, le=2**14)]
Rate = Annotated[float, Field(gt=0, le=_FLOAT, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, lt=1)]
Epochs = Annotated[float, Field(ge=0, le=_INT, allow_inf_nan=False)]
Decay = Annotated[float, Field(ge=0, le=1 - 2**-24)]  # the largest float32 below 1


class DataTable(BaseModel):
    """[data]: what to train on; see `flowkit.data.load`."""

    model_config = _STRICT
    source: str
    size: Side | Annotated[list[Side], Field(min_length=2, max_length=2)] | None = None
    channels: Literal[1, 3] | None = None
    limit: Count | None = None
    max_bytes: Annotated[int, Field(ge=1, lt=2**63)] = data.MAX_BYTES  # what the images may take
    crop: Side | None = None  # of this side: at random to train on, one for each image to test with
    augment: list[Literal["shift", "flip", "distort"]] = []  # training images, in this order
    # Of the training split, held out to choose by: so many images or rows, or a share of them; 0: none.
    validation: Annotated[int, Field(ge=0, le=_INT)] | Share = 0


class TrainingTable(BaseModel):
    """[training]: how."""

    model_config = _STRICT
    epochs: Count = 20
    epoch_steps: Count | None = None  # None: one pass over the data
    batch_size: Count = 64
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    optimizer: str = "adam"
    learning_rate: Rate = 1e-3
    warmup_steps: Annotated[int, Field(ge=0, le=_INT)] = 0
    warmup_epochs: Epochs = 0.0  # in place of steps
    schedule: Literal["constant", "cosine"] = "constant"
    # Glow's 1 - 1 / (steps in so many epochs): decay of averaged weights, and glow-adamax's beta_2.
    polyak_epochs: Rate | None = None
    ema: Decay | None = None  # decay of averaged weights; 0: no averaging
    clip_norm: Rate | None = None  # of all gradients together
    precision: Literal["float32", "mixed_bfloat16"] = "float32"  # of the networks
    adapt_batch: Count = 256  # images or rows that ActNorm takes its statistics from
    checkpoint_minutes: Rate = 10.0  # between checkpoints within an epoch; the end of each writes one too
    patience: Count = 10  # steps in a row with bad gradients before training stops
    # Epochs in a row without a better validation score before it stops; 0: it goes on to the end.
    early_stopping: Annotated[int, Field(ge=0, le=_INT)] = 0
    keep_best: bool = False  # the weights of the epoch with the best validation score, not of the last

    @model_validator(mode="after")
    def _one_warmup(self):
        if self.warmup_steps and self.warmup_epochs:
            raise ValueError("expected warmup_steps or warmup_epochs, received both")
        return self

    @field_validator("optimizer")
    @classmethod
    def _known_optimizer(cls, name):
        known = optimizers()
        if name not in known:
            raise ValueError(
                f"expected one of {', '.join(known)}, received {shown(name)}{did_you_mean(name, known)}"
            )
        return name


class SamplingTable(BaseModel):
    """[sampling]: the pictures."""

    model_config = _STRICT
    temperature: Annotated[float, Field(ge=0, le=_FLOAT, allow_inf_nan=False)] = 0.7
    count: Annotated[int, Field(ge=0, le=_INT)] = 64  # 0: no pictures


class Recipe(BaseModel):
    """A validated recipe; `model` holds `name` and the keyword arguments of that zoo function."""

    model_config = _STRICT
    model: dict[str, Any]
    data: DataTable
    training: TrainingTable = TrainingTable()
    sampling: SamplingTable = SamplingTable()

    def tables(self) -> dict[str, Any]:
        """Return the recipe as plain tables, without the keys that are None, which TOML has not."""
        tables = self.model_dump(exclude_none=True)
        tables["model"] = {key: value for key, value in self.model.items() if value is not None}
        return tables


def arguments_table(function):
    """Return a pydantic model of [model], made from the keyword-only arguments of a zoo function."""
    hints = typing.get_type_hints(function)
    fields = {"name": (str, ...)}
    for key, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY and key not in _DERIVED:
            fields[key] = _field(hints.get(key), parameter.default)
    return create_model(function.__name__, __config__=_STRICT, **fields)


def _field(hint, default):
    if default is inspect.Parameter.empty:
        return (hint or Any, ...)
    if hint is None:
        # Unannotated: the default says the type; None stands for a whole number that is not given.
        hint = int | None if default is None else type(default)
    return (hint, default)


def optimizers():
    """Return name -> class of the optimizers that a recipe may name."""
    keras_own = {
        name.lower(): optimizer
        for name, optimizer in sorted(vars(keras.optimizers).items())
        if inspect.isclass(optimizer)
        and issubclass(optimizer, keras.optimizers.Optimizer)
        and name not in ("Optimizer", "LossScaleOptimizer", "MultiOptimizer")
    }
    return {**keras_own, "glow-adamax": training.GlowAdamax}


def did_you_mean(name, known):
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}"


def dumps(tables: Recipe | dict[str, Any]) -> str:
    """Return the text of a recipe (or of plain tables); `tomllib.loads(dumps(tables)) == tables`.

    >>> print(dumps({"training": {"learning_rate": 1e-05, "optimizer": "adam"}}), end="")
    [training]
    learning_rate = 1e-05
    optimizer = "adam"
    """
    if isinstance(tables, Recipe):
        tables = tables.tables()
    blocks = []
    for name, table in tables.items():
        lines = [f"{_key(key)} = {_value(value)}\n" for key, value in table.items()]
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
