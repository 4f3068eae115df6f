"""What the contract does not ask of a block neural autoregressive map."""

import numpy as np
import pytest
from arrays import f64
from keras import ops

from flowkit.bijectors import BlockAutoregressive, Planar
from flowkit.conditioners import MLP
from flowkit.contract import ContractError

pytestmark = pytest.mark.one_engine


def test_it_starts_near_to_the_identity():
    x = np.linspace(-2, 2, 9, dtype="float32")[:, None] * np.ones((1, 2), "float32")
    z, _ = BlockAutoregressive(8)(x)
    assert np.abs(f64(z) - x).max() < 0.1


def test_entries_hear_those_before_them_alone(perturb):
    layer = BlockAutoregressive(3, depth=2)
    x = np.random.default_rng(0).normal(size=(1, 4)).astype("float32")
    layer(x)
    perturb(layer, 0.5)
    start = f64(layer(x)[0])
    for i in range(4):
        moved = x.copy()
        moved[0, i] += 0.5
        change = f64(layer(moved)[0]) - start
        assert (change[0, :i] == 0).all()
        assert (change[0, i:] != 0).all()
        assert change[0, i] > 0


def test_latents_far_outside_of_the_image_of_tanh_have_data(perturb):
    layer = BlockAutoregressive(4)
    layer(np.zeros((1, 3), "float32"))
    perturb(layer, 0.5)
    z = np.array([[1e4, -1e4, 1e3]], "float32")
    x, _ = layer.inverse(z)
    np.testing.assert_allclose(f64(layer(x)[0]), z, rtol=1e-4)


def test_what_it_does_not_take():
    with pytest.raises(ValueError, match="BlockAutoregressive's units"):
        BlockAutoregressive(0)
    with pytest.raises(TypeError, match="expected a Conditioner or a Keras layer"):
        BlockAutoregressive(conditioner=[8])
    with pytest.raises(ContractError, match="Leave context= out"):
        BlockAutoregressive(conditioner=MLP([4], context="required"))
    with pytest.raises(ContractError, match="one vector for each sample"):
        BlockAutoregressive(conditioner=MLP([4]))(ops.ones((2, 3)), context=ops.ones((2, 3, 3)))


@pytest.mark.one_engine
@pytest.mark.parametrize("layer", [BlockAutoregressive, Planar])
def test_the_network_of_the_context_is_refreshed_with_it(layer):
    class Counting(MLP):
        seen = None

        def refresh(self, context):
            self.seen = f64(context)

    network = Counting([4])
    steered = layer(conditioner=network)
    x, context = ops.ones((5, 3)), ops.full((5, 2), 7.0)
    steered(x, context)
    assert steered.refreshes
    assert network.seen is None
    steered.run_refresh(x, context)
    np.testing.assert_array_equal(network.seen, np.full((5, 2), 7.0))
    assert not layer().refreshes
