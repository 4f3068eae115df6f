"""Layers that wait for data are adapted to draws of the flow, where there are no data."""

import keras
import numpy as np
import pytest
from arrays import array
from keras import ops

from flowkit import Flow
from flowkit.bijectors import (
    ActNorm,
    Chain,
    Conv1x1,
    Coupling,
    MultiScale,
    Shift,
    Squeeze,
)
from flowkit.conditioners import MLP, ConvNet
from flowkit.distributions import Normal
from flowkit.objectives import ReverseKL


def standard_normal(x):
    return -0.5 * ops.sum(ops.reshape(ops.square(x), (ops.shape(x)[0], -1)), axis=-1)


class Watched(ActNorm):
    """An ActNorm that says what left it when it was adapted."""

    def _adapt(self, x):
        super()._adapt(x)
        self.left = array(self(x)[0])


def layers(flow):
    return [layer for layer in flow._flatten_layers() if isinstance(layer, ActNorm)]


def off_start(flow, seed=0):
    """Move the weights of couplings and of the base, so that draws need to be normalised."""
    rng = np.random.default_rng(seed)
    for weight in flow.trainable_variables:
        if not any(weight is own for layer in layers(flow) for own in layer.weights):
            weight.assign(array(weight) + rng.normal(0, 0.3, tuple(weight.shape)).astype("float32"))
    return flow


def vectors(context="none", layer=ActNorm):
    def step(i):
        return Chain([layer(), Coupling(MLP([8], context=context), swap=bool(i % 2)), Shift()])

    return Flow(Chain([step(i) for i in range(3)]), base=Normal(learn=True)), (None, 3)


def images():
    def scale():
        return Chain([Squeeze(), Watched(), Conv1x1(), Coupling(ConvNet(4))])

    return Flow(MultiScale([scale(), scale()])), (None, 4, 4, 2)


@pytest.mark.parametrize("make", [lambda: vectors(layer=Watched), images])
def test_own_draws_leave_each_actnorm_with_mean_0_and_variance_1(make):
    flow, shape = make()
    flow.build(shape)
    off_start(flow)
    assert not flow.bijector.adapted
    assert flow.adapt() is flow
    assert flow.bijector.adapted
    assert len(layers(flow)) >= 2
    for layer in layers(flow):
        rows = layer.left.reshape(-1, layer.left.shape[-1]).astype("float64")
        assert len(rows) >= 256
        np.testing.assert_allclose(rows.mean(0), 0, atol=1e-4)
        np.testing.assert_allclose(rows.std(0), 1, atol=1e-4)


def test_fit_adapts_to_draws_and_never_again():
    flow, shape = vectors()
    flow.build(shape)
    flow.compile(keras.optimizers.SGD(0.0), loss=ReverseKL(standard_normal))
    off_start(flow)
    flow.fit(steps_per_epoch=1, batch_size=4, verbose=0)
    first = [array(w) for layer in layers(flow) for w in layer.weights]
    flow.fit(steps_per_epoch=1, batch_size=4, verbose=0)
    for one, other in zip(first, (array(w) for layer in layers(flow) for w in layer.weights), strict=True):
        np.testing.assert_array_equal(one, other)
