"""What a layer derives from its weights is what its hooks receive, and never outlives a change of the weights."""

import keras
import numpy as np
import pytest
from keras import ops

from flowkit import zoo
from flowkit.bijectors import ActNorm, Chain, Conv1x1, Coupling, Scale, Shift
from flowkit.conditioners import ConvNet
from flowkit.contract import Bijector, BijectorSpec
from flowkit.contract.call import Call

pytestmark = pytest.mark.two_engines


class Counting(Bijector):
    """z = x + 2 shift; counts how often it derives."""

    spec = BijectorSpec(log_det="zero")
    derived = 0

    def build(self, x_shape):
        self.shift = self.add_weight(shape=(x_shape[-1],), initializer="normal", name="shift")

    def _derive(self, x_shape, inverse):
        type(self).derived += 1
        return {"shift": 2 * self.shift.value, "sign": -1.0 if inverse else 1.0, "none": None}

    def _forward(self, x, derived):
        return x + derived["sign"] * derived["shift"], 0.0

    _inverse = _forward


def built(parts, perturb, shape=(4, 4, 2)):
    chain = Chain(parts)
    chain.build((None, *shape))
    return perturb(chain)


def data(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def one_by_one(parts, x, inverse=False):
    total = 0.0
    for part in reversed(parts) if inverse else parts:
        x, log_det = part.run(x, Call(inverse=inverse))
        total = total + log_det
    return x, total


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("lu", [True, False])
def test_alike_parts_answer_as_one_by_one(lu, inverse, perturb):
    steps = [p for i in range(3) for p in (ActNorm(), Conv1x1(lu=lu, seed=i), Coupling(ConvNet(4)))]
    chain = built([Shift(0.5), *steps, Scale(0.1), Scale(0.1)], perturb)
    x = ops.convert_to_tensor(data(3, 4, 4, 2))
    for one, other in zip(
        chain.run(x, Call(inverse=inverse)), one_by_one(chain.parts, x, inverse), strict=True
    ):
        np.testing.assert_allclose(
            ops.convert_to_numpy(one), ops.convert_to_numpy(other), rtol=1e-4, atol=1e-4
        )


class Reversing(Bijector):
    """z = x with its entries in reverse, by a matrix that it has no weights for."""

    spec = BijectorSpec(log_det="zero")

    def _derive(self, x_shape, inverse):
        return {"matrix": ops.flip(ops.eye(x_shape[-1]), -1)}

    def _forward(self, x, derived):
        return ops.matmul(x, derived["matrix"]), 0.0

    _inverse = _forward


def test_alike_parts_may_have_no_weights():
    chain = Chain([Reversing(), Reversing(), Reversing()])
    chain.build((None, 3))
    z, _ = chain.run(ops.convert_to_tensor(data(2, 3)), Call())
    np.testing.assert_array_equal(ops.convert_to_numpy(z), data(2, 3)[:, ::-1])


def test_hooks_that_declare_no_derived_receive_none(perturb):
    class Quiet(Counting):
        pass

    class Older(Scale):
        """A hook of its own that takes no `derived`."""

        def _forward(self, x):
            return super()._forward(x)

    parts = [Quiet(), Older(0.5), Quiet()]
    chain = built(parts, perturb, (3,))
    assert Older.takes_derived == (False, True)
    x = data(5, 3)
    z, log_det = chain(x)
    back, back_log_det = chain.inverse(z)
    np.testing.assert_allclose(ops.convert_to_numpy(back), x, atol=1e-5)
    np.testing.assert_allclose(ops.convert_to_numpy(log_det), -ops.convert_to_numpy(back_log_det), rtol=1e-5)


ROADS = {}


def road(function):
    ROADS[function.__name__] = function
    return function


@road
def assign(flow, other, folder):
    for weight, value in zip(flow.weights, other.get_weights(), strict=True):
        weight.assign(value)


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
