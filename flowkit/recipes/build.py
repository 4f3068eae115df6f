"""From a validated recipe to a flow that is ready for `fit`, and its data."""

import inspect
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from flowkit import data, distributed, zoo
from flowkit.distributed.failed import failing_together
from flowkit.recipes.ends import check_ends
from flowkit.recipes.hold_out import hold_out
from flowkit.recipes.images import augmentations, cropped, image_shape, load_data, load_uncropped
from flowkit.recipes.named_columns import by_place
from flowkit.recipes.optimizer import build_optimizer
from flowkit.recipes.schema import Recipe, RecipeError
from flowkit.recipes.tables import check_tables, load_table, load_whole, of_tables
from flowkit.recipes.unseen_classes import note_unseen_classes


@dataclass(frozen=True)
class Experiment:
    """All that a run needs: a compiled and adapted flow, and its data in an order that resumes.

    `train` is without `validation`, which is None if the recipe holds nothing out.
    """

    recipe: Recipe
    flow: Any
    train: data.Dataset | data.Table
    test: data.Dataset | data.Table
    batches: data.Batches
    classes: int | None
    validation: data.Dataset | data.Table | None = None

    @property
    def splits(self) -> list[data.Dataset | data.Table]:
        """All that was loaded, each row in one of them."""
        return [split for split in (self.train, self.validation, self.test) if split is not None]

    def context(self, dataset: data.Dataset) -> np.ndarray | None:
        """The labels that the model is conditioned on, or None."""
        return None if self.classes is None else dataset.labels


def build_flow(recipe: Recipe, dataset: data.Dataset | data.Table) -> Any:
    """The recipe's flow for the data of `dataset`, neither compiled nor adapted.

    `input_shape` and, if an image does not have 256 values, `data_levels` come from the data; from a table `features`
    and the names of the columns. Raises a RecipeError if the model cannot be made for that data.
    """
    arguments = {key: value for key, value in recipe.model.items() if value is not None}
    function = zoo.ARCHITECTURES[arguments.pop("name")]
    if isinstance(dataset, data.Table):
        if "domains" in arguments:
            arguments["domains"] = by_place(arguments["domains"], dataset.names)
        flow = _made(recipe, dataset, function, {**arguments, "features": dataset.values.shape[1]})
        flow.columns = dataset.columns
        return flow
    takes = inspect.signature(function).parameters
    if "data_levels" in takes and dataset.levels != 256:
        arguments.setdefault("data_levels", dataset.levels)
    classes = arguments.get("num_classes")
    if classes is not None and (dataset.labels is None or dataset.labels.max() >= classes):
        found = (
            "no labels, as a folder for the images of each class gives them"
            if dataset.labels is None
            else f"labels up to {dataset.labels.max()}: --set model.num_classes={dataset.labels.max() + 1}"
        )
        raise RecipeError(f"model.num_classes = {classes}, but {dataset.name} has {found}")
    return _made(recipe, dataset, function, {**arguments, "input_shape": image_shape(recipe, dataset)})


def _made(recipe, dataset, function, arguments):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(recipe.training.precision)  # layers read it when they are made
    try:
        return function(**arguments)
    except ValueError as error:
        raise RecipeError(f"[model] does not fit {dataset.name}: {error}") from error
    finally:
        keras.config.set_dtype_policy(before)


def prepare(recipe: Recipe) -> Experiment:
    """An `Experiment`, ready for `fit`: seeds set, flow built, adapted and compiled.

    It is adapted to images that are augmented as those of the training are, as published. Sets Keras's random seed.
    """
    table = recipe.training
    keras.utils.set_random_seed(table.seed)
    if of_tables(recipe):
        return _prepare_table(recipe)
    with failing_together():  # a process may not see the files
        train, held_out = hold_out(recipe, load_uncropped(recipe, "train"))
        test = load_data(recipe, "test")
    _check_batch(table, train, "images")
    flow = build_flow(recipe, train)
    check_ends(recipe, flow, train, test)
    note_unseen_classes(recipe, [split for split in (train, held_out, test) if split is not None])
    classes = recipe.model.get("num_classes")
    labels = None if classes is None else train.labels
    augment = augmentations(recipe)
    ordered = data.batches(
        train.images,
        labels,
        batch_size=table.batch_size,
        epoch_steps=table.epoch_steps,
        seed=table.seed,
        augment=augment,
    )
    rng = np.random.default_rng(table.seed)
    rows = distributed.mine(rng.permutation(len(train))[: table.adapt_batch])  # `adapt` sees those of all
    first = train.images[rows]
    for function in augment:
        first = function(first, rng)
    flow.adapt(first, None if labels is None else labels[rows])
    flow.compile(optimizer=build_optimizer(recipe, len(ordered)))
    held_out = None if held_out is None else cropped(recipe, held_out)
    return Experiment(recipe, flow, train, test, ordered, classes, held_out)


def _prepare_table(recipe):
    table = recipe.training
    with failing_together():
        train, held_out = hold_out(recipe, load_whole(recipe, "train"))
        test = load_table(recipe, "test")
    _check_batch(table, train, "rows")
    check_tables(train, test)
    flow = build_flow(recipe, train)
    x = train.values.astype(flow.compute_dtype)
    ordered = data.batches(x, batch_size=table.batch_size, epoch_steps=table.epoch_steps, seed=table.seed)
    for some in (train, held_out, test):
        if some is None:
            continue
        try:
            # All rows are looked at now, not in the epoch that comes to them; `adapt` takes as many as it needs.
            flow.adapt(distributed.mine(some.values)) if some is train else flow._check(some.values, None)
        except ValueError as error:
            raise RecipeError(f"{some.name}: {error}") from error
    flow.compile(optimizer=build_optimizer(recipe, len(ordered)))
    return Experiment(recipe, flow, train, test, ordered, None, held_out)


def _check_batch(table, train, what):
    if table.batch_size > len(train):
        raise RecipeError(
            f"training.batch_size = {table.batch_size}: expected at most the number of {what} to train on, "
            f"which is {len(train)} of {train.name} (--set training.batch_size={len(train)})"
        )
