import functools
import importlib

import keras
import numpy as np
import pytest
from keras import ops
from standin import compiled, identical, rows, values

from flowkit import Flow, training
from flowkit.bijectors import Shift
from flowkit.engines import engine
from flowkit.training.guard import guarded

BATCH = 8


def adam(**kwargs):
    return training.GuardedOptimizer(keras.optimizers.Adam(0.01, **kwargs))


def fit(model, x, callbacks=(), epochs=1):
    return model.fit(x, batch_size=BATCH, epochs=epochs, shuffle=False, verbose=0, callbacks=list(callbacks))


INNER = {
    "averaged": lambda: keras.optimizers.Adam(0.01, use_ema=True, ema_momentum=0.9),
    "accumulated": lambda: keras.optimizers.SGD(0.1, momentum=0.9, gradient_accumulation_steps=2),
    "clipped": lambda: keras.optimizers.AdamW(0.01, global_clipnorm=0.1),
    "Glow's": lambda: training.GlowAdamax(0.01, beta_2=0.9, clipvalue=0.1),
}


# On torch "auto" is eager, and True goes through torch.compile, which takes a quarter of a minute to trace it.
COMPILED = pytest.param(True, "averaged", marks=[pytest.mark.long] if engine.name == "torch" else [])


@pytest.mark.parametrize(("jit_compile", "inner"), [COMPILED, *((False, name) for name in INNER)])
def test_a_bad_batch_changes_nothing(monkeypatch, jit_compile, inner):
    if engine.name == "torch":  # what is traced matters here, and not the program that is made of it
        monkeypatch.setattr(
            "torch.compile", functools.partial(importlib.import_module("torch").compile, backend="eager")
        )
    optimizer = training.GuardedOptimizer(INNER[inner]())
    model = compiled(optimizer, jit_compile=jit_compile)
    fit(model, rows(16))
    keep = [v for v in optimizer.variables if "skipped" not in v.path]
    before = values([*model.trainable_variables, *keep])
    steps = int(optimizer.iterations)

    fit(model, rows(16, bad=[3, 9]))  # both batches are bad; fit ends by averaging, so look inside
    assert int(optimizer.skipped) == 2
    assert int(optimizer.skipped_in_a_row) == 2
    assert int(optimizer.iterations) == steps
    assert identical(before, values([*model.trainable_variables, *keep]))

    fit(model, rows(16))
    assert int(optimizer.skipped) == 2
    assert int(optimizer.skipped_in_a_row) == 0
    assert int(optimizer.iterations) == steps + (1 if inner == "accumulated" else 2)
    assert not identical(before, values([*model.trainable_variables, *keep]))


def test_a_loss_that_overflows_is_not_followed_though_its_gradients_are_finite():
    flow = Flow(Shift())
    flow.compile(training.GuardedOptimizer(keras.optimizers.SGD(0.1)))
    flow.fit(np.full((4, 2), 1e20, "float32"), verbose=0)
    assert int(flow.optimizer.skipped) == 1
    assert not values(flow.trainable_variables)[0].any()


@pytest.mark.parametrize(("dtype", "large"), [("float16", 6e4), ("float64", 1e100)])
def test_gradients_of_other_types_are_followed(dtype, large):
    """Squares of these numbers overflow in float16, and in float32."""
    with engine.float64():
        grads = [ops.full((4,), 200.0, dtype=dtype), ops.full((2,), large, dtype=dtype)]
        weights = [keras.Variable(np.zeros(grad.shape), dtype=dtype) for grad in grads]
        optimizer = training.GuardedOptimizer(keras.optimizers.SGD(0.1))
        optimizer.apply(grads, weights)
        assert int(optimizer.skipped) == 0
        assert all(value.any() for value in values(weights))
        optimizer.apply([grads[0], ops.full((2,), np.inf, dtype=dtype)], weights)
        assert int(optimizer.skipped) == 1


@pytest.mark.parametrize("options", [{}, {"global_clipnorm": 1.0}], ids=["moments", "clipped"])
def test_gradients_whose_squares_overflow_are_not_followed(options):
    weights = [keras.Variable([1.0, 2.0]), keras.Variable([3.0])]
    optimizer = training.GuardedOptimizer(keras.optimizers.Adam(0.1, **options))
    optimizer.build(weights)
    before = values([*weights, *optimizer.inner_optimizer.variables])
    optimizer.apply([ops.convert_to_tensor([1e25, 1.0]), ops.convert_to_tensor([1.0])], weights)
    assert int(optimizer.skipped) == 1
    assert identical(before, values([*weights, *optimizer.inner_optimizer.variables]))
    optimizer.apply([ops.convert_to_tensor([1e18, 1.0]), ops.convert_to_tensor([1.0])], weights)
    assert int(optimizer.skipped) == 1
    assert all(np.isfinite(v).all() for v in values([*weights, *optimizer.inner_optimizer.variables]))


@pytest.mark.parametrize("inner", INNER)
def test_good_steps_are_the_inner_optimizers(inner):
    plain, wrapped = (
        compiled(optimizer) for optimizer in (INNER[inner](), training.GuardedOptimizer(INNER[inner]()))
    )
    for model in (plain, wrapped):
        fit(model, rows(64))
    for pair in zip(values(plain.trainable_variables), values(wrapped.trainable_variables), strict=True):
        np.testing.assert_allclose(
            *pair, rtol=1e-5, atol=1e-7
        )  # 8 steps of float32, clipped in another order


def test_learning_rate_callbacks_reach_the_inner_optimizer():
    optimizer = adam()
    halve = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    fit(compiled(optimizer), rows(16), [halve], epochs=2)
    assert float(ops.convert_to_numpy(optimizer.inner_optimizer.learning_rate)) == np.float32(0.0025)


def test_eager_apply_on_a_gradient_of_none():
    used, unused = keras.Variable([1.0]), keras.Variable([1.0])
    optimizer = training.GuardedOptimizer(keras.optimizers.SGD(0.5))
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        optimizer.apply([ops.convert_to_tensor([1.0]), None], [used, unused])
    assert ops.convert_to_numpy(used).tolist() == [0.5]
    assert ops.convert_to_numpy(unused).tolist() == [1.0]


def test_training_stops_when_steps_stay_bad(tmp_path):
    model = compiled(adam())
    x = rows(20 * BATCH, bad=range(5 * BATCH, 20 * BATCH, BATCH))  # bad from the sixth step on
    checkpoint = training.Resume(tmp_path / "checkpoint.npz")
    with pytest.raises(training.TrainingDiverged, match=r"epoch 1.* last 5 steps"):
        fit(model, x, [training.StopWhenDiverged(patience=5), checkpoint])
    assert all(np.isfinite(v).all() for v in values(model.trainable_variables))
    assert not (tmp_path / "checkpoint.npz").exists()


def test_stop_when_diverged_needs_a_guard():
    with pytest.raises(ValueError, match=r"expected a model compiled with .*GuardedOptimizer"):
        fit(compiled(keras.optimizers.Adam(0.01)), rows(8), [training.StopWhenDiverged()])


def test_a_config_names_no_engine_and_a_saved_model_goes_on(tmp_path):
    schedule = training.WarmUpCosine(0.1, warmup_steps=3, total_steps=9, floor=0.2)
    model = compiled(training.GuardedOptimizer(training.GlowAdamax(schedule, beta_2=0.9, use_ema=True)))
    inner = adam().get_config()["inner_optimizer"]
    assert (inner["module"], inner["class_name"]) == ("keras.optimizers", "Adam")
    fit(model, rows(16, bad=[3]))
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    assert int(guarded(again.optimizer).skipped) == 1
    assert again.optimizer.get_config() == model.optimizer.get_config()
    assert identical(values(model.optimizer.variables), values(again.optimizer.variables))
    for one in (model, again):
        gradients = [ops.full(weight.shape, 0.1) for weight in one.trainable_variables]
        one.optimizer.apply(gradients, one.trainable_variables)
    assert identical(values(model.trainable_variables), values(again.trainable_variables))
