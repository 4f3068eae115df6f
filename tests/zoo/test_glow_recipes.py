"""Every recipe of zoo/glow: its training as published, and one step on images of the right shape."""

import math
import re

import numpy as np
import pytest
from keras import ops
from test_recipe_sizes import stored_shape

import flowkit
from flowkit import data, training
from flowkit._shipped import recipe_files
from flowkit.app.experiment import build_optimizer, prepare
from flowkit.app.recipe import read_recipe
from flowkit.engines import engine

PUBLISHED = sorted(name for name in recipe_files() if re.search("glow/(cifar10|imagenet|lsun|celeba)", name))
# Those that differ in what a step sees: sizes, crops, labels, classifiers. The first is asked of two engines.
TRIED = ("cifar10-conditional", "cifar10", "imagenet32-conditional", "lsun-128", "celeba-hq-256", "digits")


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


@pytest.fixture
def small(tmp_path):
    """A recipe with one thin step, and random images in place of the user's."""

    def make(name):
        recipe = read_recipe(name)
        warmup = "warmup_steps" if recipe.training.warmup_steps else "warmup_epochs"
        changed = ["model.steps=1", "model.width=4", "training.epoch_steps=1", "training.epochs=2"]
        changed += ["training.batch_size=2", "training.adapt_batch=4", f"training.{warmup}=1"]
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


@pytest.mark.parametrize("name", [pytest.param(TRIED[0], marks=pytest.mark.two_engines), *TRIED[1:]])
def test_it_takes_a_step_on_images_of_its_shape(name, small):
    recipe = small(f"glow/{name}")
    made = prepare(recipe)
    side = recipe.data.crop or made.train.images.shape[1]
    assert made.flow.event_shape == (side, side, made.train.images.shape[-1])
    classifies = bool(recipe.model.get("classifier_weight"))
    assert classifies is name.endswith("-conditional")
    assert isinstance(made.flow, flowkit.LabelledFlow) is classifies
    before = [ops.convert_to_numpy(weight).copy() for weight in made.flow.trainable_weights]
    history = made.flow.fit(made.batches, epochs=1, shuffle=False, verbose=0).history
    after = [ops.convert_to_numpy(weight) for weight in made.flow.trainable_weights]
    assert np.isfinite(history["bits_per_dim"]).all()
    assert int(made.flow.optimizer.iterations) == 1
    assert any((one != other).any() for one, other in zip(before, after, strict=True))
    assert all(np.isfinite(weight).all() for weight in after)
