"""Each thing that a flow is used for, on the card."""

import keras
import numpy as np
import pretend_card
import pytest

import flowkit
from flowkit import convert, data, latent, training
from flowkit.app import main
from flowkit.bijectors import Chain, Coupling, Permute
from flowkit.conditioners import MLP, ConvNet


def on_card(model):
    return {str(variable.value.device) for variable in model.variables} == {str(pretend_card.DEVICE)}


def test_fitting_leaves_everything_on_the_card(fitted):
    assert on_card(fitted)
    assert on_card(fitted.optimizer)
    assert np.isfinite(fitted.history.history["loss"]).all()


def test_adapting(glow, images):
    flow = glow().adapt(images)
    assert flow.bijector.adapted
    assert on_card(flow)


def test_scoring(fitted, images):
    bits, nats = fitted.bits_per_dim(images, samples=2), -fitted.log_prob(images)
    assert bits.shape == nats.shape == (32,)
    # Another draw of noise.
    np.testing.assert_allclose(bits.mean(), nats.mean() / (64 * np.log(2)), rtol=0.05)
    assert fitted.evaluate(images, verbose=0, return_dict=True)["bits_per_dim"] == pytest.approx(
        bits.mean(), rel=0.05
    )
    assert fitted.predict(images, verbose=0).shape == (32,)


def test_sampling(fitted, images):
    np.testing.assert_array_equal(fitted.sample(3, seed=0), fitted.sample(3, seed=0))
    assert fitted.sample(3, temperature=[0.7, 0.9]).shape == (3, 8, 8, 1)
    np.testing.assert_array_equal(fitted.decode(fitted.encode(images)), images)
    assert latent.interpolate(fitted, images[0], images[1], 3).shape == (3, 8, 8, 1)


def test_saving(fitted, images, tmp_path):
    fitted.save(tmp_path / "flow.keras")
    loaded = keras.saving.load_model(tmp_path / "flow.keras")
    assert on_card(loaded)
    np.testing.assert_array_equal(loaded.log_prob(images), fitted.log_prob(images))


def test_a_run_stopped_and_resumed_is_the_one_that_was_not(glow, images, tmp_path):
    def train(path, epochs):
        flow, resume = glow(), training.Resume(path, data_seed=0)
        batches = data.batches(images, batch_size=16, seed=0)
        start = resume.load(flow)
        batches.epoch = start
        callbacks = [training.StopWhenDiverged(2), resume]
        flow.fit(batches, epochs=epochs, initial_epoch=start, verbose=0, callbacks=callbacks)
        return flow

    straight = train(tmp_path / "straight.npz", 2)
    train(tmp_path / "stopped.npz", 1)
    resumed = train(tmp_path / "stopped.npz", 2)
    for one, other in zip(straight.variables, resumed.variables, strict=True):
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (one, other)))


def test_averaged_weights_are_lent_and_given_back(glow, images):
    flow = glow(levels=1)
    flow.fit(images, batch_size=16, verbose=0)  # which ends with the average
    flow.train_on_batch(images)
    before = flow.log_prob(images)
    with training.averaged_weights(flow):
        assert on_card(flow)
        assert not np.array_equal(flow.log_prob(images), before)
    np.testing.assert_array_equal(flow.log_prob(images), before)


@pytest.mark.parametrize("backprop", ["recompute", "reversible"])
def test_saving_memory_changes_no_number(glow, images, fitted, backprop):
    flow = glow(backprop=backprop)
    flow.fit(images, batch_size=16, verbose=0)
    np.testing.assert_allclose(flow.history.history["loss"], fitted.history.history["loss"], rtol=1e-5)


@pytest.mark.parametrize("weight", [None, 0.01])
def test_labelled_flows(glow, images, labels, weight):
    flow = glow(num_classes=4, **({} if weight is None else {"classifier_weight": weight}))
    flow.fit(images, context=labels, batch_size=16, verbose=0)
    assert flow.log_prob(images, labels).shape == (32,)
    assert flow.sample(2, context=np.arange(4)).shape == (2, 4, 8, 8, 1)
    if weight is not None:
        assert flow.label_log_prob(images).shape == (32, 4)


scaled = keras.optimizers.LossScaleOptimizer

VARIANTS = {
    "plain 1x1": {"lu": False},
    "additive": {"coupling": "additive", "permutation": "shuffle"},
    "bounded": {"permutation": "reverse", "min_scale": 0.1},
    "GlowAdamax": {"optimizer": lambda: training.GlowAdamax(1e-3, use_ema=True)},
    "AdamW": {"optimizer": lambda: keras.optimizers.AdamW(1e-3)},
    "loss scale": {"optimizer": lambda: scaled(training.GuardedOptimizer(keras.optimizers.Adam(1e-3)))},
    "bfloat16": {"policy": "mixed_bfloat16"},
    "accumulation": {"optimizer": lambda: keras.optimizers.Adam(1e-3, gradient_accumulation_steps=2)},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_train_and_invert(policy, glow, images, variant):
    options = dict(VARIANTS[variant])
    policy(options.pop("policy", "float32"))
    optimizer = options.pop("optimizer", lambda: None)()
    flow = glow(optimizer, levels=1, **options)
    flow.fit(images, batch_size=16, verbose=0)
    np.testing.assert_array_equal(flow.decode(flow.encode(images)), images)


def test_checkerboards_and_vectors():
    for net, split, shape in ((ConvNet(8), "checkerboard", (4, 4, 2)), (MLP([8]), "channels", (6,))):
        flow = flowkit.Flow(Chain([Coupling(net, split=split), Permute()]))
        flow.compile(optimizer="adam")
        x = np.random.default_rng(0).normal(size=(16, *shape)).astype("float32")
        flow.fit(x, batch_size=8, verbose=0)
        np.testing.assert_allclose(flow.decode(flow.encode(x)), x, atol=1e-5)


def test_converting(fitted, images):
    variables = convert.to_openai(fitted)
    assert {type(value) for value in variables.values()} == {np.ndarray}
    flow = convert.from_openai(variables, input_shape=images.shape[1:])
    assert on_card(flow)
    np.testing.assert_allclose(flow.log_prob(images), fitted.log_prob(images), rtol=1e-4)


def test_the_command_line(tmp_path):
    tiny = ["model.levels=1", "model.steps=1", "model.width=4", "data.limit=32", "training.batch_size=16"]
    settings = [word for pair in (*tiny, "sampling.count=4") for word in ("--set", pair)]
    assert (
        main(["train", "glow/fashion-mnist", "--out", str(tmp_path / "run"), "--epochs", "1", *settings]) == 0
    )
    assert main(["evaluate", str(tmp_path / "run")]) == 0


def test_the_card_refuses_what_a_gpu_would():
    import torch

    x = keras.ops.ones((2, 2))
    with pytest.raises(RuntimeError, match="same device"):
        x + torch.ones(2, 2)
    with pytest.raises((RuntimeError, TypeError)):
        x.numpy()
