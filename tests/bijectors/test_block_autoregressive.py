"""What the contract does not ask of a block neural autoregressive map."""

import numpy as np
import pytest
from arrays import f64
from keras import ops

from flowkit.bijectors import BlockAutoregressive, Planar
from flowkit.conditioners import MLP

pytestmark = pytest.mark.one_engine


def test_latents_far_outside_of_the_image_of_tanh_have_data(perturb):
    layer = BlockAutoregressive(4)
    layer(np.zeros((1, 3), "float32"))
    perturb(layer, 0.5)
    z = np.array([[1e4, -1e4, 1e3]], "float32")
    x, _ = layer.inverse(z)
    np.testing.assert_allclose(f64(layer(x)[0]), z, rtol=1e-4)


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
