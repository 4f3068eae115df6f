"""A recipe: its tables, their keys, types and defaults; reading it from TOML, and writing it."""

import inspect
import json
import re
import tomllib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import keras

from flowkit import training, zoo
from flowkit._shipped import closest
from flowkit.app.failure import RecipeError
from flowkit.app.find import find
from flowkit.contract.arguments import (
    Between0And1,
    Positive,
    instance,
    listed,
    one_of,
    real,
    rule_of,
    shown,
    whole,
    words,
)
from flowkit.data.augment import NotNegative
from flowkit.data.image_file import Side, Size

# Arguments of zoo functions that follow from the data, and those that TOML cannot express.
_DERIVED = ("input_shape", "features", "context", "base", "embedding")


def _held_out(value, name):
    """Return a number or a share of rows."""
    share = real(0, 1, "a whole number, or a share between 0 and 1", "()")
    return (share if isinstance(value, float) else whole(0, None))(value, name)


def _decay(value, name):
    return value if value == "auto" else real(0, 1, "'auto' or a number in [0, 1)", "[)")(value, name)


def _augmentations(values, name):
    return [one_of(name, value, ("shift", "flip", "distort")) for value in _words(values, name)]


def optimizers():
    """Return name -> class of the optimizers that a recipe may name."""
    classes = filter(inspect.isclass, vars(keras.optimizers).values())
    keras_own = {kind.__name__.lower(): kind for kind in classes if issubclass(kind, keras.Optimizer)}
    return {**keras_own, "glow-adamax": training.GlowAdamax}


_words = listed(str, "words")
Count = Annotated[int, whole(1, None)]
Whole = Annotated[int, whole(0, None)]
Words = Annotated[list[str], _words]


@dataclass(frozen=True, kw_only=True)
class DataTable:
    """[data]: what to train on; see `flowkit.data.load`."""

    source: Annotated[str, instance(str, "a name or a path")]
    size: Size | None = None
    channels: Annotated[int, words(1, 3)] | None = None
    limit: Count | None = None
    crop: Side | None = None  # of this side: at random to train on, one for each image to test with
    augment: Annotated[list[str], _augmentations] = ()  # training images, in this order
    # Hold out so many images or rows of the training split, or a share of them, to choose weights by; 0 holds out none.
    validation: Annotated[float, _held_out] = 0
    # Of a mixed table, such as the recipe `table` takes: {column: type} in place of what is inferred, see
    # `flowkit.fit_table`; None: columns are numbers. `columns`: those to use, None for all but those in `drop`.
    types: Annotated[dict[str, Any], instance(dict, "a table of columns and their types")] | None = None
    columns: Words | None = None
    drop: Words = ()
    given: Words = ()  # what the others are conditioned on


@dataclass(frozen=True, kw_only=True)
class TrainingTable:
    """[training]: how."""

    epochs: Count = 20
    epoch_steps: Count | None = None  # None: one pass over the data
    batch_size: Count = 64
    seed: Annotated[int, whole(0, 2**32 - 1)] = 0
    # "flow_matching": the objective of that name; the context is dropped for a tenth of the rows if it is optional.
    loss: Annotated[str, words("likelihood", "flow_matching")] = "likelihood"
    optimizer: Annotated[str, words(*optimizers())] = "adam"
    learning_rate: Positive = 1e-3
    warmup_steps: Whole = 0  # a tenth of a run that has no more steps
    warmup_epochs: NotNegative = 0.0  # unless there are steps
    schedule: Annotated[str, words("constant", "cosine")] = "constant"
    # Glow's 1 - 1 / (steps in so many epochs): decay of averaged weights, and glow-adamax's beta_2.
    polyak_epochs: Positive | None = None
    # Decay of averaged weights; 0: no averaging; "auto": averages reach back a tenth of the run.
    ema: Annotated[float | str, _decay] | None = None
    clip_norm: Positive | None = None  # of all gradients together
    beta_2: Between0And1 | None = None  # of the squares of gradients; None: the optimizer's own
    weight_decay: Positive | None = None  # times the learning rate; None: the optimizer's own
    precision: Annotated[str, words("float32", "mixed_bfloat16")] = "float32"  # of the networks
    adapt_batch: Count = 256  # images or rows that ActNorm takes its statistics from
    checkpoint_minutes: Positive = 10.0  # between checkpoints within an epoch; the end of each writes one too
    patience: Count = 10  # steps in a row with bad gradients before training stops
    # Epochs in a row without a better validation score before it stops; 0: it goes on to the end.
    early_stopping: Whole = 0
    keep_best: bool = True  # the weights of the epoch with the best validation score, if rows are held out


@dataclass(frozen=True, kw_only=True)
class SamplingTable:
    """[sampling]: the pictures."""

    temperature: NotNegative = 0.7
    count: Whole = 64  # 0: no pictures


@dataclass(frozen=True)
class Recipe:
    """A validated recipe; `model` holds `name` and the keyword arguments of that zoo function."""

    model: dict[str, Any]
    data: DataTable
    training: TrainingTable
    sampling: SamplingTable

    @classmethod
    def of(cls, tables: dict[str, Any]) -> "Recipe":
        """Return the recipe of plain tables; raise a RecipeError that names the table and the key."""
        kinds = {"data": DataTable, "training": TrainingTable, "sampling": SamplingTable}
        for name in tables:
            if name not in ("model", *kinds):
                raise RecipeError(f"{name[:80]} is not a key of a recipe; {closest(name, ('model', *kinds))}")
            if not isinstance(tables[name], dict):
                raise RecipeError(f"{name}: got {shown(tables[name])}, expected a table, [{name}]")
        tables = {name: dict(tables.get(name, {})) for name in ("model", *kinds)}
        family = tables["model"].pop("name", None)
        if not isinstance(family, str) or family not in zoo.ARCHITECTURES:
            near = closest(str(family), zoo.ARCHITECTURES)
            raise RecipeError(f"model.name: got {shown(family)}, expected a family; {near}")
        if tables["data"].pop("max_bytes", None) is not None:
            warnings.warn(
                "data.max_bytes is ignored: data may take half of this machine's memory", stacklevel=2
            )
        model = {"name": family, **filled(zoo.ARCHITECTURES[family], tables["model"], "model")}
        recipe = cls(model, *(kind(**filled(kind, tables[name], name)) for name, kind in kinds.items()))
        if recipe.training.early_stopping and not recipe.data.validation:
            expected = "expected a share above 0 to choose an epoch by"
            raise RecipeError(f"training.early_stopping: got data.validation = 0, {expected}")
        return recipe

    def flat(self) -> dict[str, Any]:
        """Return {"model.levels": 3, ...}, also of keys that are None."""
        tables = asdict(self)
        return {f"{table}.{key}": tables[table][key] for table in tables for key in tables[table]}


def filled(function: Callable[..., Any], given: dict[str, Any], table: str) -> dict[str, Any]:
    """Return the arguments of a function that a table may set: those given, checked by its annotations, or defaults.

    Raises a RecipeError that names the table and the key.
    """
    parameters = inspect.signature(function).parameters.values()
    known = {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in _DERIVED}
    for key in given:
        if key not in known:
            raise RecipeError(f"{table}.{key[:80]} is not a key of a recipe; {closest(key, known)}")
    values = {}
    for key, parameter in known.items():
        value, rule = given.get(key, parameter.default), rule_of(parameter.annotation)
        if value is parameter.empty:
            raise RecipeError(f"{table}.{key} is missing")
        try:
            values[key] = value if rule is None else rule(value, f"{table}.{key}")
        except (TypeError, ValueError) as error:
            raise RecipeError(str(error)) from None
    return values


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
    try:
        text = path.read_text(encoding="utf-8-sig")  # editors on Windows begin a file with a mark
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: got no text in UTF-8 ({error.reason}), expected a recipe.") from None
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
        return Recipe.of(tables)
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
        tables = asdict(tables)
    blocks = []
    for name, table in tables.items():
        lines = [
            f"# {_key(key)} = none\n" if value is None else f"{_key(key)} = {toml_value(value)}\n"
            for key, value in table.items()
        ]
        blocks.append(f"[{_key(name)}]\n{''.join(lines)}")
    return "\n".join(blocks)


def _key(key):
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else toml_value(key)


def toml_value(value: Any) -> str:
    """Return a value as TOML writes it."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_key(key)} = {toml_value(entry)}' for key, entry in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    # Numbers, strings and booleans are those of JSON, but for one character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
