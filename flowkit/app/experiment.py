"""Make a flow that is ready for `fit`, and load its data, from a validated recipe."""

import inspect
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np

from flowkit import data, training, zoo
from flowkit.app.failure import RecipeError, together
from flowkit.app.images import Images
from flowkit.app.recipe import Recipe, optimizers
from flowkit.app.tables import Tables
from flowkit.data.table import SUFFIXES
from flowkit.flow import Flow
from flowkit.flow.seeding import seeded
from flowkit.objectives import FlowMatching

Split = data.Dataset | data.Table


@dataclass(frozen=True)
class Experiment:
    """A compiled and adapted flow, and its data in an order that resumes.

    `train` is without `validation`, which is None if the recipe holds nothing out.
    """

    recipe: Recipe
    flow: Flow
    train: Split
    test: Split
    batches: data.Batches
    validation: Split | None = None

    @property
    def kind(self) -> Images | Tables:
        """Return the kind of the recipe: images or rows of a table."""
        return kind_of(self.recipe)

    @property
    def splits(self) -> list[Split]:
        """Return all splits, each row in one of them."""
        return [self.train, *([] if self.validation is None else [self.validation]), self.test]

    @property
    def scored(self) -> dict[str, Split]:
        """Return {"test": ...}, and "validation" if the recipe holds something out."""
        return {"test": self.test} | ({} if self.validation is None else {"validation": self.validation})


def kind_of(recipe: Recipe) -> Images | Tables:
    """Return what a recipe is of, images or rows of a table: an object with the methods that depend on it.

    A family of both, such as `flow_matching`, takes what the file holds: a .csv, .tsv or .parquet file holds rows.
    """
    parameters = inspect.signature(zoo.ARCHITECTURES[recipe.model["name"]]).parameters
    rows = "features" in parameters and Path(recipe.data.source).suffix.lower() in SUFFIXES
    return Tables() if rows or "input_shape" not in parameters else Images()


def build_flow(recipe: Recipe, dataset: Split | None) -> Flow:
    """Return the recipe's flow for the data of `dataset`, neither compiled nor adapted.

    `input_shape` and, if an image does not have 256 values, `data_levels` come from the data; from a table `features`
    and the names of the columns. Without data their size is assumed. Raises a RecipeError if the model cannot be made.
    """
    given = {key: value for key, value in recipe.model.items() if value is not None}
    del given["name"]
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(recipe.training.precision)  # layers read it when they are made
    try:
        flow = kind_of(recipe).make(recipe, dataset, given)
    except ValueError as error:
        wrong_size = getattr(error, "clause", None) in ("event shape", "levels")
        advice = " data.size sets the size, model.levels how often it is halved." if wrong_size else ""
        raise RecipeError(
            f"[model] does not fit {getattr(dataset, 'name', 'the recipe')}: {error}{advice}"
        ) from error
    finally:
        keras.config.set_dtype_policy(before)
    flow.columns = getattr(dataset, "columns", None)
    return flow


def prepare(recipe: Recipe) -> Experiment:
    """Return an `Experiment`, ready for `fit`: flow built by the recipe's seed, adapted and compiled.

    The flow is adapted to images that are augmented as those of the training are, as published.
    """
    table, kind = recipe.training, kind_of(recipe)
    with together():  # a process may not see the files
        train, held_out = hold_out(recipe, _whole(recipe, "train"))
        test = load(recipe, "test")
    held_out = None if held_out is None else kind.trimmed(recipe, held_out)
    with seeded(table.seed):
        flow = build_flow(recipe, train)
    x, context, augment = kind.to_train(recipe, flow, train)
    how = {"batch_size": table.batch_size, "epoch_steps": table.epoch_steps, "seed": table.seed}
    batches = data.batches(x, context, augment=augment, **how)
    kind.adapt(recipe, flow, train, test, *([] if held_out is None else [held_out]))
    try:
        objective = None
        if table.loss == "flow_matching":
            objective = FlowMatching(drop_context=0.1 if flow.bijector.spec.context == "optional" else 0.0)
        flow.compile(build_optimizer(recipe, len(batches)), loss=objective)
    except TypeError as error:
        raise RecipeError(f"training.loss = {table.loss!r} does not fit model.name: {error}") from error
    return Experiment(recipe, flow, train, test, batches, held_out)


def build_optimizer(recipe: Recipe, steps_per_epoch: int) -> training.GuardedOptimizer:
    """Return the recipe's optimizer: schedule, clipping and averaging, guarded against bad steps."""
    table = recipe.training
    decay = 0.0
    if table.polyak_epochs is not None:
        decay = 1 - 1 / max(1, steps_per_epoch * table.polyak_epochs)
    ema, total = decay if table.ema is None else table.ema, table.epochs * steps_per_epoch
    if ema == "auto":
        ema = max(0.0, 1 - 10 / total)
    elif ema:
        _note_long_averages(1 / (1 - ema), total)
    arguments = {"global_clipnorm": table.clip_norm, "use_ema": ema > 0, "ema_momentum": ema or 0.99}
    if table.optimizer == "glow-adamax" and decay:
        arguments["beta_2"] = decay
    given = {"beta_2": table.beta_2, "weight_decay": table.weight_decay}
    arguments |= {name: value for name, value in given.items() if value is not None}
    warmup = table.warmup_steps or round(table.warmup_epochs * steps_per_epoch)
    if table.schedule == "constant":
        rate = training.WarmUp(table.learning_rate, warmup_steps=warmup)
    else:
        warmup = warmup if total > warmup else total // 10  # a folder of few images
        rate = training.WarmUpCosine(table.learning_rate, warmup_steps=warmup, total_steps=total)
    return training.GuardedOptimizer(optimizers()[table.optimizer](rate, **arguments))


def _note_long_averages(reach, total):
    """Warn if averaged weights, which are scored and sampled, would hold much of the first ones."""
    if reach > total / 5:
        warnings.warn(
            f"averaged weights, which are scored and sampled, reach back {reach:.0f} steps, more than a fifth of the "
            f"whole run's {total}: they will be worse than the last weights, which --set training.ema=0 takes. "
            "More --epochs or a smaller training.batch_size make more steps",
            stacklevel=2,
        )


def load(recipe: Recipe, split: str) -> Split:
    """Return the recipe's "train", "validation" or "test" as the model takes it; the first is without the second.

    With `crop`, each image gives one square of it, always the same. In a group of processes images stay on the disk if
    they can, and each process reads the rows that it comes to. Raises a RecipeError, and what `flowkit.data.load` or
    `load_table` does.
    """
    if split == "test":
        found = _whole(recipe, "test")
    else:
        train, held = hold_out(recipe, _whole(recipe, "train"))
        found = held if split == "validation" else train
    if found is None:
        raise RecipeError("data.validation = 0: the recipe holds no rows out to validate on")
    return kind_of(recipe).trimmed(recipe, found)


def _whole(recipe, split):
    """Return "train" or "test", "train" with what is held out of it."""
    try:
        return kind_of(recipe).load(recipe, split)
    except FileNotFoundError as error:
        raise RecipeError(
            f"data.source: {error} --data PATH gives your copy; the first lines of flowkit's recipes say what it must "
            "hold."
        ) from None


def hold_out(recipe: Recipe, dataset: Split) -> tuple[Split, Split | None]:
    """Split the training split: (what is trained on, what is held out to choose by or None), by `training.seed`.

    The test split has no part in it. Raises a RecipeError if nothing would be left on one of the two sides.
    """
    share, count = recipe.data.validation, len(dataset)
    if not share:
        return dataset, None
    held = max(1, round(share * count)) if isinstance(share, float) else share
    if held >= count:
        raise RecipeError(
            f"data.validation = {share}: got {count} rows or images in {dataset.name}, expected more than the {held} "
            "to hold out. Give more data, or --set data.validation=0"
        )
    order = np.random.default_rng(recipe.training.seed).permutation(count)
    return dataset.take(np.sort(order[held:])), dataset.take(np.sort(order[:held]))


def for_workers(recipe: Recipe, count: int) -> Recipe:
    """Return the recipe for `count` workers, as Glow's published code has it: each adds a batch of its own to a step.

    `batch_size` times as many, and an epoch that is stated in steps has `ceil(epoch_steps / count)`, so that it sees as
    many images as before. What is stated in epochs follows: the warm-up, and the decay `1 - 1 / steps` of averages and
    of `glow-adamax`. The learning rate stays.

    >>> from flowkit.app.recipe import read_recipe
    >>> table = for_workers(read_recipe("glow/cifar10"), 8).training
    >>> table.batch_size, table.epoch_steps
    (512, 98)
    """
    table = recipe.training
    changes: dict[str, int] = {"batch_size": table.batch_size * count}
    if table.epoch_steps is not None:
        changes["epoch_steps"] = -(-table.epoch_steps // count)
    return replace(recipe, training=replace(table, **changes))
