"""From a validated recipe to a flow, its data and its optimizer."""

import inspect
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from flowkit import data, training, zoo
from flowkit.recipes.schema import Recipe, RecipeError, optimizers


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


def load_data(recipe, split):
    """The recipe's data set, "train" or "test"; raises what `flowkit.data.load` does."""
    table = recipe.data
    size = tuple(table.size) if isinstance(table.size, list) else table.size
    return data.load(table.source, split, size=size, channels=table.channels, limit=table.limit)


def build_flow(recipe, dataset):
    """The recipe's flow for the data of `dataset`, neither compiled nor adapted.

    `input_shape` and, where an image does not have 256 values, `data_levels` come from the data.
    Raises a RecipeError where the model cannot be made for that data.
    """
    arguments = {key: value for key, value in recipe.model.items() if value is not None}
    function = getattr(zoo, arguments.pop("name"))
    takes = inspect.signature(function).parameters
    if "data_levels" in takes and dataset.levels != 256:
        arguments.setdefault("data_levels", dataset.levels)
    classes = arguments.get("num_classes")
    if classes is not None and (dataset.labels is None or dataset.labels.max() >= classes):
        found = "no labels" if dataset.labels is None else f"labels up to {dataset.labels.max()}"
        raise RecipeError(f"model.num_classes = {classes}, but {dataset.name} has {found}")
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(recipe.training.precision)  # layers read it when they are made
    try:
        return function(input_shape=tuple(dataset.images.shape[1:]), **arguments)
    except ValueError as error:
        raise RecipeError(f"[model] does not fit {dataset.name}: {error}") from error
    finally:
        keras.config.set_dtype_policy(before)


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
        rate = training.WarmUpCosine(table.learning_rate, warmup_steps=table.warmup_steps, total_steps=total)
    else:
        rate = training.WarmUp(table.learning_rate, warmup_steps=table.warmup_steps)
    inner = optimizers()[table.optimizer](
        rate,
        global_clipnorm=table.clip_norm,
        use_ema=table.ema > 0,
        ema_momentum=table.ema or 0.99,
    )
    return training.GuardedOptimizer(inner)


def prepare(recipe):
    """An `Experiment`, ready for `fit`: seeds set, flow built, adapted and compiled.

    Sets Keras's random seed.
    """
    table = recipe.training
    keras.utils.set_random_seed(table.seed)
    train, test = load_data(recipe, "train"), load_data(recipe, "test")
    flow = build_flow(recipe, train)
    classes = recipe.model.get("num_classes")
    labels = None if classes is None else train.labels
    ordered = data.batches(train.images, labels, batch_size=table.batch_size, seed=table.seed)
    rows = np.random.default_rng(table.seed).permutation(len(train))[: table.adapt_batch]
    flow.adapt(train.images[rows], None if labels is None else labels[rows])
    flow.compile(optimizer=build_optimizer(recipe, len(ordered)))
    return Experiment(recipe, flow, train, test, ordered, classes)
