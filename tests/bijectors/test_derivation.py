"""What a layer derives from its weights never outlives a change of the weights."""

import keras
import numpy as np
import pytest

from flowkit import zoo

pytestmark = pytest.mark.two_engines


def data(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


ROADS = {}


def road(function):
    ROADS[function.__name__] = function
    return function


@road
def set_weights(flow, other, folder):
    flow.set_weights(other.get_weights())


@road
def load_weights(flow, other, folder):
    other.save_weights(folder / "other.weights.h5")
    flow.load_weights(folder / "other.weights.h5")


@road
def a_training_step(flow, other, folder):
    flow.compile(keras.optimizers.SGD(1e-4))
    flow.fit(data(8, 4, 4, 3), batch_size=8, verbose=0)


@road
def swapped_averages(flow, other, folder):
    flow.compile(keras.optimizers.SGD(1e-4, use_ema=True, ema_momentum=0.5))
    flow.fit(data(8, 4, 4, 3), batch_size=8, epochs=2, verbose=0)
    flow.log_prob(data(8, 4, 4, 3))
    flow.optimizer.finalize_variable_values(flow.trainable_variables)


@pytest.mark.parametrize("change", ROADS.values(), ids=ROADS)
def test_nothing_outlives_a_change_of_weights(change, tmp_path, perturb):
    x = data(8, 4, 4, 3)

    def flow():
        return zoo.glow(levels=1, steps=2, width=4, n_bits=None, min_scale=0.5).adapt(x)

    one, other, fresh = flow(), perturb(flow()), flow()
    before, latents = one.log_prob(x), one.encode(x, check=None)
    change(one, other, tmp_path)
    fresh.set_weights(one.get_weights())
    after = one.log_prob(x)
    assert np.abs(after - before).max() > 1e-3
    np.testing.assert_array_equal(after, fresh.log_prob(x))
    np.testing.assert_array_equal(one.decode(latents, check=None), fresh.decode(latents, check=None))
