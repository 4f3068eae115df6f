"""Glow's Adamax against the published formula, evaluated step by step in float64 numpy."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops
from standin import compiled, identical, rows, values
from test_resume import train

from flowkit import training
from flowkit.engines import engine

STEPS = 30


def published(w, gradients, rate, b1, b2, epsilon=1e-8):
    """The weights after each step, by the formula."""
    m, u, path = np.zeros_like(w), np.zeros_like(w), []
    for t, g in enumerate(gradients, start=1):
        m = b1 * m + (1 - b1) * g
        u = np.maximum(b2 * u, np.abs(g))
        w = w - rate(t) * np.sqrt(1 - b2**t) / (1 - b1**t) * m / (u + epsilon)
        path.append(w)
    return np.array(path)


@pytest.mark.parametrize("b2", [0.75, 1 - 1 / 782])
@pytest.mark.parametrize("warmup", [0, 10])
def test_each_step_is_the_published_one(b2, warmup):
    rng = np.random.default_rng(0)
    start = rng.normal(size=(5,))
    # Sizes from 1e-6 to 1, so that epsilon shows and the maximum decays in some entries.
    gradients = rng.normal(size=(STEPS, 5)) * 10.0 ** rng.uniform(-6, 0, size=(STEPS, 5))
    expected = published(start, gradients, lambda t: 1e-2 * min(1, t / max(warmup, 1)), b1=0.9, b2=b2)

    weight = keras.Variable(start.astype("float32"))
    optimizer = training.GlowAdamax(training.WarmUp(1e-2, warmup_steps=warmup), beta_2=b2)
    path = []
    for g in gradients.astype("float32"):
        optimizer.apply([ops.convert_to_tensor(g)], [weight])
        path.append(ops.convert_to_numpy(weight).copy())

    # Each step carries some 20 roundings of its own size, and rounds the weight once.
    steps = np.abs(np.diff(expected, axis=0, prepend=start[None]))
    atol = STEPS * np.finfo("float32").eps * (20 * steps.max() + np.abs(expected).max())
    np.testing.assert_allclose(path, expected, rtol=0, atol=atol)


def test_it_is_not_the_textbooks():
    def first_step(optimizer):
        weight = keras.Variable([1.0])
        optimizer.apply([ops.convert_to_tensor([5.0])], [weight])
        return 1 - float(ops.convert_to_numpy(weight)[0])

    b2 = 1 - 1 / 782
    ratio = first_step(training.GlowAdamax(0.1, beta_2=b2)) / first_step(
        keras.optimizers.Adamax(0.1, beta_2=b2)
    )
    assert ratio == pytest.approx(0.0358, abs=5e-4)  # the specification's .04 at t = 1 for 782 steps an epoch


def fit(optimizer, *, epochs=3, jit_compile="auto"):
    model = compiled(optimizer, jit_compile=jit_compile)
    model.fit(rows(64), batch_size=8, epochs=epochs, shuffle=False, verbose=0)
    return model


def guarded(**kwargs):
    return training.GuardedOptimizer(training.GlowAdamax(0.05, beta_2=0.9, **kwargs))


def test_a_saved_model_goes_on_with_it(tmp_path):
    model = fit(guarded())
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    inner = again.optimizer.inner_optimizer
    assert isinstance(inner, training.GlowAdamax)
    assert (inner.beta_2, inner.epsilon) == (0.9, 1e-8)
    assert identical(values(model.optimizer.variables), values(again.optimizer.variables))
    gradients = [ops.convert_to_tensor(np.full(w.shape, 0.1, "float32")) for w in model.trainable_variables]
    for one in (model, again):
        one.optimizer.apply(gradients, one.trainable_variables)
    assert identical(values(model.trainable_variables), values(again.trainable_variables))


def test_stopped_and_resumed_equals_uninterrupted(tmp_path):
    def run(name, epochs):
        optimizer = training.GlowAdamax(0.05, beta_2=0.9, use_ema=True, ema_momentum=0.9)
        return train(tmp_path / name, epochs, optimizer=optimizer)

    whole = run("whole.npz", 4)
    run("parts.npz", 2)
    assert identical(whole, run("parts.npz", 4))


TWO_DEVICES = """
    import os, sys
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
    sys.path.insert(0, sys.argv[1])
    import keras
    import numpy as np
    from standin import compiled, rows, values
    from flowkit import training

    def fit(devices):
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))
        optimizer = training.GlowAdamax(0.05, beta_2=0.9, use_ema=True, ema_momentum=0.9)
        model = compiled(training.GuardedOptimizer(optimizer))
        model.fit(rows(64), batch_size=16, shuffle=False, verbose=0)
        return np.concatenate([value.ravel() for value in values(model.trainable_variables)])

    devices = keras.distribution.list_devices()
    print(len(devices), np.abs(fit(devices) - fit(devices[:1])).max())
"""


@pytest.mark.skipif(engine.name != "jax", reason="only JAX makes two devices of one processor")
@pytest.mark.long
def test_gradients_of_two_devices_are_averaged_first(run_python):
    """Two halves of each batch, on two devices, come to the weights of the whole batch on one."""
    given = {"hidden": ["tensorflow"], "args": [Path(__file__).parent]}
    count, difference = run_python(TWO_DEVICES, engine="jax", **given).split()
    assert int(count) == 2
    assert float(difference) < 64 * np.finfo("float32").eps  # four steps, sums in another order
