"""What fails inside a step of `fit` comes through as it is, and the flow goes on to work."""

import keras
import numpy as np
import pytest
from keras import ops

from flowkit import Flow
from flowkit.bijectors import Chain, Elementwise, Shift
from flowkit.engines import engine
from flowkit.training import GuardedOptimizer, Resume, averaged_weights

X = np.random.default_rng(0).normal(size=(12, 2)).astype("float32")


class Failing(Elementwise):
    """The identity, which fails when it is called with the batch size `at`."""

    def __init__(self, at, **kwargs):
        super().__init__(**kwargs)
        self.at = at

    def _forward(self, x):
        if x.shape[0] == self.at:
            raise MemoryError("the device has no memory left")
        return x, ops.zeros_like(x)


def fitting(optimizer, at=4):
    flow = Flow(Chain([Shift(), Failing(at)]))
    flow.adapt(X[:3])
    # Whose traces do not know the batch size.
    flow.compile(optimizer, run_eagerly=engine.name == "tensorflow")
    return flow


OPTIMIZERS = {
    "adam": lambda: keras.optimizers.Adam(0.1),
    "averaged": lambda: keras.optimizers.Adam(0.1, use_ema=True),
    "guarded": lambda: GuardedOptimizer(keras.optimizers.Adam(0.1)),
    "scaled": lambda: keras.optimizers.LossScaleOptimizer(GuardedOptimizer(keras.optimizers.Adam(0.1))),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("batch_size", [4, 8], ids=["first step", "second step"])
def test_the_error_of_a_step_is_the_one_that_is_raised(optimizer, batch_size):
    flow = fitting(OPTIMIZERS[optimizer]())
    with pytest.raises(MemoryError, match="no memory left"):
        flow.fit(X, batch_size=batch_size, shuffle=False, verbose=0)
    assert np.isfinite(flow.log_prob(X[:2])).all()
    flow.fit(X, batch_size=6, verbose=0)
    assert np.isfinite(flow.log_prob(X[:2])).all()


def test_a_failed_evaluation_leaves_the_weights():
    flow = fitting("adam")
    before = flow.log_prob(X[:2])
    for method in (flow.evaluate, flow.predict):
        with pytest.raises(MemoryError, match="no memory left"):
            method(X, batch_size=8, verbose=0)
        np.testing.assert_array_equal(flow.log_prob(X[:2]), before)


def test_a_later_fit_raises_what_is_wrong_with_it_alone():
    flow = fitting("adam")
    with pytest.raises(MemoryError):
        flow.evaluate(X, batch_size=4, verbose=0)

    def broken(logs):
        raise LookupError("a callback")

    with pytest.raises(LookupError, match="a callback"):
        flow.fit(X, verbose=0, callbacks=[keras.callbacks.LambdaCallback(on_train_begin=broken)])


class Disk(keras.utils.PyDataset):
    """Batches of a disk that fails at the second read."""

    reads = 0

    def __len__(self):
        return 2

    def __getitem__(self, index):
        self.reads += 1
        if self.reads > 1:
            raise OSError("no such disk")
        return (X,)


@pytest.mark.parametrize("method", ["evaluate", "predict", "train_on_batch"])
def test_weights_that_were_set_since_the_last_step_stay(method):
    flow = fitting("adam")
    flow.train_on_batch(X)
    others = [weight + 1 if weight.dtype.kind == "f" else weight for weight in flow.get_weights()]
    flow.set_weights(others)
    with pytest.raises((OSError, MemoryError)):
        flow.train_on_batch(X[:4]) if method == "train_on_batch" else getattr(flow, method)(Disk(), verbose=0)
    flow.log_prob(X[:2])
    for one, other in zip(flow.get_weights(), others, strict=True):
        np.testing.assert_array_equal(one, other)


def test_averages_in_the_place_of_weights_are_neither_evaluated_nor_trained_away():
    flow, plain = fitting(OPTIMIZERS["averaged"](), at=99), fitting(OPTIMIZERS["averaged"](), at=99)
    for fitted in (flow, plain):
        fitted.fit(X, batch_size=6, shuffle=False, verbose=0)
    with averaged_weights(flow):
        flow.evaluate(X, verbose=0)
    flow.evaluate(X, verbose=0)
    for fitted in (flow, plain):
        fitted.fit(X, batch_size=6, shuffle=False, verbose=0)
    for one, other in zip(flow.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.skipif(engine.name != "jax", reason="only JAX writes over the weights in a step")
def test_weights_that_are_lost_are_never_used_and_a_checkpoint_brings_them_back(tmp_path):
    flow = fitting("adam", at=99)
    checkpoint = Resume(tmp_path / "checkpoint.npz")
    flow.fit(X, batch_size=4, verbose=0, callbacks=[checkpoint])
    before = flow.get_weights()
    step = flow.train_function

    def lost(state, iterator):
        for value in (value for values in state for value in values):
            value.delete()
        raise MemoryError("the device has no memory left")

    flow.train_function = lost
    with pytest.raises(MemoryError, match="no memory left"):
        flow.fit(X, batch_size=4, verbose=0)
    flow.train_function = step
    for use in (
        lambda: flow.log_prob(X),
        lambda: flow.sample(2),
        lambda: flow.fit(X, verbose=0),
        lambda: flow.train_on_batch(X),
        lambda: flow.evaluate(X, verbose=0),
        lambda: flow.save(tmp_path / "flow.keras"),
        flow.get_weights,
    ):
        with pytest.raises((RuntimeError, ValueError), match="deleted"):
            use()
    checkpoint.load(flow)
    for one, other in zip(flow.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)
    flow.fit(X, batch_size=4, verbose=0)
    assert np.isfinite(flow.log_prob(X)).all()


def test_a_step_that_overflows_halves_the_scale_and_the_next_one_counts():
    start = 2.0**127  # times a loss above 2 it overflows
    optimizer = keras.optimizers.LossScaleOptimizer(
        GuardedOptimizer(keras.optimizers.SGD(0.1)), initial_scale=start
    )
    flow = Flow(Shift())
    flow.adapt(X)
    # Whose traces do not know the batch size.
    flow.compile(optimizer, run_eagerly=engine.name == "tensorflow")
    flow.fit(X + 3, batch_size=4, epochs=2, verbose=0)
    assert 0 < float(ops.convert_to_numpy(optimizer.dynamic_scale)) < start
    assert int(optimizer.inner_optimizer.skipped) == 0
    assert 0 < int(optimizer.iterations) < 6
