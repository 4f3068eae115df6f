"""Training steps with less around them than Keras's: the same weights and numbers, bit for bit."""

import keras
import numpy as np
import pytest
from keras import ops
from small_flows import Rows, glow, vectors

from flowkit import Flow, backends, training
from flowkit.bijectors import Coupling

on_torch = pytest.mark.skipif(backends.name() != "torch", reason="other engines compile Keras's own step")
on_jax = pytest.mark.skipif(backends.name() != "jax", reason="a loop of XLA's")
X = np.random.default_rng(0).normal(size=(72, 4)).astype("float32")
CONTEXT = np.random.default_rng(1).normal(size=(72, 2)).astype("float32")

OPTIMIZERS = {
    "Adam": lambda: keras.optimizers.Adam(0.01),
    "clipped and averaged": lambda: keras.optimizers.AdamW(0.01, use_ema=True, global_clipnorm=0.5),
    "guarded": lambda: training.GuardedOptimizer(keras.optimizers.SGD(0.1, momentum=0.9)),
    "scaled": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.01)),
}


def fitted(optimizer, data=X, *, context="none", callbacks=(), epochs=2, compiled=None, **options):
    """(weights and the optimizer's state, what `fit` reported)."""
    keras.utils.set_random_seed(0)
    flow = vectors(context)
    flow.compile(OPTIMIZERS[optimizer](), **compiled or {})
    history = flow.fit(
        data,
        epochs=epochs,
        verbose=0,
        validation_data=options.pop("check", None),
        callbacks=list(callbacks),
        **options,
    )
    state = [ops.convert_to_numpy(v) for v in flow.weights + flow.optimizer.variables]
    return state, history.history


def same(one, other, *, rounding=0.0):
    for a, b in zip(one[0], other[0], strict=True):
        np.testing.assert_array_equal(a, b)
    assert one[1].keys() == other[1].keys()
    for name in one[1]:
        np.testing.assert_allclose(one[1][name], other[1][name], rtol=rounding)


@on_torch
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_step_is_kerass(monkeypatch, optimizer, weighted):
    options = {"batch_size": 16, "check": X[:20]}
    if weighted:
        options["sample_weight"] = np.linspace(0, 2, len(X))
    lean = fitted(optimizer, **options)
    monkeypatch.setattr(backends, "lean_train_step", lambda model, own, *given: own(*given))
    # The mean of the loss is the same sum in another order.
    same(lean, fitted(optimizer, **options), rounding=4 * np.finfo("float32").eps)


@on_torch
def test_a_step_on_a_data_set_with_context_is_kerass(monkeypatch):
    data = Rows({"x": X, "context": CONTEXT})
    lean = fitted("Adam", data, context="required")
    monkeypatch.setattr(backends, "lean_train_step", lambda model, own, *given: own(*given))
    same(lean, fitted("Adam", data, context="required"), rounding=4 * np.finfo("float32").eps)


@on_torch
def test_regularizers_count_as_in_keras(monkeypatch):
    def trained():
        keras.utils.set_random_seed(0)
        layer = keras.layers.Dense(2, kernel_regularizer=keras.regularizers.L2(0.5))
        flow = Flow(Coupling(layer, "additive"))
        flow.compile(OPTIMIZERS["Adam"]())
        losses = flow.fit(X, batch_size=16, epochs=2, verbose=0).history["loss"]
        return [ops.convert_to_numpy(v) for v in flow.weights], {"loss": losses}

    lean = trained()
    monkeypatch.setattr(backends, "lean_train_step", lambda model, own, *given: own(*given))
    same(lean, trained(), rounding=4 * np.finfo("float32").eps)


@on_torch
def test_what_is_frozen_after_an_epoch_stays_in_the_next():
    frozen = []

    class Freeze(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            part = self.model.bijector.parts[2]
            part.trainable = epoch == 1  # and is let go again after the second
            frozen.append([ops.convert_to_numpy(v) for v in part.weights])

    fitted("Adam", callbacks=[Freeze()], epochs=3)
    first, second, third = (np.concatenate([v.ravel() for v in values]) for values in frozen)
    np.testing.assert_array_equal(first, second)
    assert (second != third).any()


@on_torch
def test_single_batches_report_by_the_metrics_of_the_last_compile(monkeypatch):
    def reported():
        keras.utils.set_random_seed(0)
        flow = vectors("none")
        logs = []
        for _ in range(2):
            flow.compile(OPTIMIZERS["Adam"]())
            flow.fit(X, batch_size=16, epochs=1, verbose=0)
            flow.compile(OPTIMIZERS["Adam"]())
            logs += [flow.train_on_batch(X[:8], return_dict=True) for _ in range(2)]
        return logs

    lean = reported()
    monkeypatch.setattr(backends, "lean_train_step", lambda model, own, *given: own(*given))
    for one, other in zip(lean, reported(), strict=True):
        assert one.keys() == other.keys()
        np.testing.assert_allclose(list(one.values()), list(other.values()), rtol=1e-6)


@on_jax
@pytest.mark.optimized
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_several_steps_at_once_are_as_many_single_ones(optimizer):
    """9 batches of 8 rows in groups of 4, and 3 of the validation's: the last of each is not full."""
    options = {"batch_size": 8, "check": X[:20]}
    single = fitted(optimizer, **options)
    same(fitted(optimizer, compiled={"steps_per_execution": 4}, **options), single)


@on_jax
def test_callbacks_hear_of_each_group_of_steps():
    heard = []
    hear = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: heard.append(batch))
    fitted("Adam", batch_size=8, callbacks=[hear], epochs=1, compiled={"steps_per_execution": 4})
    assert heard == [3, 7, 11]  # as Keras counts them, the last group being short


@on_jax
def test_convolutions_on_a_cpu_are_not_taken_in_a_loop(monkeypatch):
    from flowkit.backends.jax import lean_step

    judged = []
    may_loop = lean_step._may_loop
    monkeypatch.setattr(lean_step, "_may_loop", lambda *given: judged.append(may_loop(*given)) or judged[-1])
    x = np.random.default_rng(0).integers(0, 256, (8, 4, 4, 1), dtype="uint8")
    flow = glow(levels=1)
    flow.compile("adam", steps_per_execution=2)
    flow.fit(x, batch_size=4, verbose=0)
    fitted("Adam", batch_size=8, epochs=1, compiled={"steps_per_execution": 2})
    assert judged == [False, True]
