"""Whoever holds a flow may use it between two steps of `fit`, where JAX has its weights outside of it."""

import copy
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
from keras import ops

from flowkit import Flow
from flowkit.bijectors import ActNorm, Chain, Shift
from flowkit.objectives import MaximumLikelihood

X = np.random.default_rng(0).normal(size=(32, 2)).astype("float32")


def flow(optimizer=None):
    made = Flow(Chain([ActNorm(), Shift()]))
    made.adapt(X)
    made.compile(optimizer or keras.optimizers.SGD(0.1))
    made.fit(X, batch_size=8, verbose=0)
    return made


def values(made):
    return [ops.convert_to_numpy(variable).copy() for variable in made.weights]


def fitted(made, do, at=1):
    """What `do()` gives after step `at` of four, not by a callback's `self.model`, which puts weights back."""
    given = []

    def ask(batch, logs):
        if batch == at:
            given.append(do())

    asking = keras.callbacks.LambdaCallback(on_train_batch_end=ask)
    made.fit(X, batch_size=8, shuffle=False, verbose=0, callbacks=[asking])
    return given[0]


def test_weights_are_read_as_they_are_after_the_step():
    read, until = flow(), flow()
    until.set_weights(values(read))
    got = fitted(read, read.get_weights)
    until.fit(X[:16], batch_size=8, shuffle=False, verbose=0)
    for one, other in zip(got, values(until), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("how", ["set", "loaded"])
def test_weights_that_are_set_or_loaded_are_trained_on(how, tmp_path):
    made, other = flow(keras.optimizers.SGD(0.0)), flow(keras.optimizers.SGD(0.0))
    others = [weight + 1 if weight.dtype.kind == "f" else weight for weight in values(made)]
    other.set_weights(others)
    other.save_weights(tmp_path / "flow.weights.h5")  # with what the optimizer knows
    ways = {
        "set": lambda: made.set_weights(others),
        "loaded": lambda: made.load_weights(tmp_path / "flow.weights.h5"),
    }
    fitted(made, ways[how])
    for one, expected in zip(values(made), others, strict=True):
        np.testing.assert_array_equal(one, expected)


@pytest.mark.parametrize("kind", ["saved", "copied", "weights alone"])
def test_a_copy_is_of_that_step(kind, tmp_path):
    made = flow()

    def copied():
        if kind == "copied":
            return made.get_weights(), copy.deepcopy(made)
        if kind == "saved":
            made.save(tmp_path / "flow.keras")
            return made.get_weights(), keras.saving.load_model(tmp_path / "flow.keras")
        made.save_weights(tmp_path / "flow.weights.h5")
        other = flow()
        other.load_weights(tmp_path / "flow.weights.h5")
        return made.get_weights(), other

    then, other = fitted(made, copied)
    for one, same in zip(then, values(other), strict=True):
        np.testing.assert_array_equal(one, same)
    assert not np.array_equal(then[0], values(made)[0])  # and training has gone on


def test_it_may_be_adapted_anew():
    made = flow(keras.optimizers.SGD(0.0))
    fitted(made, lambda: made.adapt(3 * X))
    z = made.encode(3 * X, check=None)
    np.testing.assert_allclose(z.std(axis=0), 1, rtol=1e-5)


def test_it_may_be_fitted_in_the_middle_of_a_fit():
    inside, after = flow(), flow()
    after.set_weights(values(inside))
    fitted(inside, lambda: inside.fit(3 * X, batch_size=16, shuffle=False, verbose=0))
    for rows, size in ((X[:16], 8), (3 * X, 16), (X[16:], 8)):
        after.fit(rows, batch_size=size, shuffle=False, verbose=0)
    for one, other in zip(values(inside), values(after), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_tensors_are_those_of_the_step():
    made = flow()

    def ask():
        scored, drawn = made(X), made.draw(3, seed=1)[0]
        return [ops.convert_to_numpy(tensor) for tensor in (scored, drawn)]

    then, weights = fitted(made, lambda: (ask(), made.get_weights()))
    assert np.abs(then[0] - ask()[0]).max() > 1e-4  # training has gone on
    made.set_weights(weights)
    for one, other in zip(then, ask(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


class ByTheFlow(MaximumLikelihood):
    """As its parent, by calling the flow, and draws that count for nothing."""

    def __call__(self, flow, x, context):
        return -flow(x) + 0 * ops.sum(flow.draw(2)[1])


def test_an_objective_that_calls_the_flow_is_given_the_weights_of_its_step():
    own, keras_own = flow(), flow()
    keras_own.set_weights(values(own))
    own.compile(keras.optimizers.SGD(0.1), loss=ByTheFlow())
    for made in (own, keras_own):
        # The last batch is smaller: its step is made in the middle of the epoch.
        made.fit(X[:20], batch_size=8, shuffle=False, verbose=0)
    trained = [[weight.numpy() for weight in made.trainable_variables] for made in (own, keras_own)]
    for one, other in zip(*trained, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="the weights stay where they are")
def test_another_thread_waits_for_its_tensors():
    made, asked = flow(), []
    with ThreadPoolExecutor(2) as pool:

        def ask():
            asked.extend(pool.submit(call) for call in (lambda: made(X), lambda: made.draw(2)))
            return [one.done() for one in asked]

        assert fitted(made, ask) == [False, False]
        for one in asked:
            one.result(timeout=60)
