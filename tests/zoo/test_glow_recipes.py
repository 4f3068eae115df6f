"""Every recipe of zoo/glow: its size, its training as published, and one step on images of the right shape."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
from keras import ops

import flowkit
from flowkit import data, training, zoo
from flowkit._shipped import recipe_files
from flowkit.app.experiment import build_optimizer, prepare
from flowkit.app.experiment import load as load_data
from flowkit.app.recipe import read_recipe
from flowkit.engines import engine

CARD = Path(__file__).parents[2] / "zoo" / "glow" / "README.md"
NAMES = sorted(name for name in recipe_files() if name.startswith("glow/"))
PUBLISHED = [name for name in NAMES if re.search("cifar10|imagenet|lsun|celeba", name)]
# What a recipe says does not depend on the engine: where each one means a minute of compiling, the one that
# says most stands for all. Recipes that differ in nothing that a step sees are tried once.
BUILT = NAMES if engine.name == "torch" else ["glow/cifar10-conditional"]
ALIKE = "additive-|cifar10-shuffle|imagenet32$|church|tower|-full"
TRIED = [name for name in BUILT if not re.search(ALIKE, name)]
GREY = ("glow/mnist", 28)  # the recipes without a size of their own, whose images are not 32x32x3


def stored_shape(name, recipe):
    """(height, width, channels) of the user's images."""
    if recipe.data.source == "fashion-mnist-full":  # a package of Debian's, which need not be there
        return load_data(read_recipe("glow/fashion-mnist"), "test").images.shape[1:]
    if recipe.data.source in data.NAMES:
        return load_data(recipe, "test").images.shape[1:]
    height, width = recipe.data.size or ([GREY[1]] if name == GREY[0] else [32]) * 2
    return height, width, recipe.data.channels or (1 if name == GREY[0] else 3)


def card_rows():
    """recipe -> the cells of its row in the card's table."""
    lines = CARD.read_text(encoding="utf-8").splitlines()
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in lines
        if line.startswith("| [`glow/")
    ]
    return {re.match(r"\[`(.*?)`\]", row[0])[1]: row[1:] for row in rows}


@pytest.mark.one_engine
@pytest.mark.parametrize("name", BUILT)
def test_the_card_says_how_many_parameters_a_recipe_has(name):
    """Steps are alike, so two small models give the count of a large one without making its weights.

    The card is the one place of the numbers; those the paper's code implies are repeated below.
    """
    recipe = read_recipe(name)
    options = {key: value for key, value in recipe.model.items() if key != "name"}
    *sides, channels = stored_shape(name, recipe)
    shape = (*(recipe.data.crop or side for side in sides), channels)

    def size(steps):
        flow = zoo.glow(**options | {"steps": steps, "input_shape": shape})
        return sum(math.prod(weight.shape) for weight in flow.trainable_weights)

    count = size(1) + (options["steps"] - 1) * (size(2) - size(1))
    assert card_rows()[name][2] == f"{count:,}"


@pytest.mark.one_engine
def test_the_card_has_the_published_counts():
    assert {name: card_rows()[f"glow/{name}"][2] for name in
            ("cifar10", "cifar10-additive", "imagenet32", "imagenet64", "celeba-hq-256")} == {
        "cifar10": "44,603,604",
        "cifar10-additive": "38,395,668",
        "imagenet32": "66,861,588",
        "imagenet64": "112,377,540",
        "celeba-hq-256": "175,099,620",
    }  # fmt: skip


@pytest.mark.one_engine
@pytest.mark.parametrize("name", PUBLISHED)
def test_it_is_trained_as_published(name):
    recipe = read_recipe(name)
    table, side = recipe.training, recipe.data.crop or (recipe.data.size or [32])[0]
    assert table.batch_size == 64 * 32**2 // side**2  # of one worker
    assert table.adapt_batch == 256 * 32**2 // side**2
    assert table.epoch_steps == math.ceil(50_000 / 64)
    assert recipe.data.augment == (["shift"] if "cifar10" in name else [])
    assert recipe.model["lu"] is (recipe.model["permutation"] != "conv1x1")

    optimizer = build_optimizer(recipe, table.epoch_steps).inner_optimizer
    assert isinstance(optimizer, training.GlowAdamax)
    assert optimizer.beta_2 == optimizer.ema_momentum == 1 - 1 / 782
    assert optimizer.use_ema
    assert (optimizer.beta_1, optimizer.epsilon, optimizer.global_clipnorm) == (0.9, 1e-8, None)
    rate = optimizer.get_config()["learning_rate"]["config"]
    assert (rate["peak"], rate["warmup_steps"]) == (1e-3, 7820)

    off = read_recipe(name, ["training.ema=0"])
    optimizer = build_optimizer(off, table.epoch_steps).inner_optimizer
    assert (optimizer.use_ema, optimizer.beta_2) == (False, 1 - 1 / 782)


SMALL = (
    "model.steps=1",
    "model.width=4",
    "training.batch_size=2",
    "training.epoch_steps=1",
    "training.epochs=2",
)


@pytest.fixture
def small(tmp_path):
    """A recipe with one thin step, and random images in place of the user's."""

    def make(name):
        recipe = read_recipe(name)
        warmup = "warmup_steps" if recipe.training.warmup_steps else "warmup_epochs"
        changed = [*SMALL, "training.adapt_batch=4", f"training.{warmup}=1"]
        if engine.name != "torch":
            changed.append("model.levels=1")
        if recipe.training.polyak_epochs:
            changed.append("training.polyak_epochs=3")
        if recipe.data.source in data.NAMES:
            return read_recipe(name, [*changed, "data.limit=4"])
        rng = np.random.default_rng(0)
        arrays = {}
        for split in ("train", "test"):
            arrays[f"{split}_images"] = rng.integers(0, 256, (4, *stored_shape(name, recipe)), dtype="uint8")
            arrays[f"{split}_labels"] = np.arange(4)
        np.savez(tmp_path / "images.npz", **arrays)
        return read_recipe(name, [*changed, f"data.source={tmp_path / 'images.npz'}"])

    return make


# The step of a plain flow and that of one with labels are asked of each engine; recipes differ in sizes and options.
EVERYWHERE = ("glow/cifar10", "glow/cifar10-conditional")


@pytest.mark.two_engines
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in EVERYWHERE else pytest.mark.one_engine) for name in TRIED],
)
def test_it_takes_a_step_on_images_of_its_shape(name, small):
    recipe = small(name)
    made = prepare(recipe)
    side = recipe.data.crop or made.train.images.shape[1]
    assert made.flow.event_shape == (side, side, made.train.images.shape[-1])
    classifies = bool(recipe.model.get("classifier_weight"))
    assert classifies is (name in ("glow/cifar10-conditional", "glow/imagenet32-conditional"))
    assert isinstance(made.flow, flowkit.LabelledFlow) is classifies
    before = [ops.convert_to_numpy(weight).copy() for weight in made.flow.trainable_weights]
    history = made.flow.fit(made.batches, epochs=1, shuffle=False, verbose=0).history
    after = [ops.convert_to_numpy(weight) for weight in made.flow.trainable_weights]
    assert np.isfinite(history["bits_per_dim"]).all()
    assert int(made.flow.optimizer.iterations) == 1
    assert any((one != other).any() for one, other in zip(before, after, strict=True))
    assert all(np.isfinite(weight).all() for weight in after)
