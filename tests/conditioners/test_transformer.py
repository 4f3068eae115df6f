"""How a context enters a transformer: a sequence by cross-attention, a map in the order of the places."""

import numpy as np
import pytest
from arrays import f64
from keras import ops

from flowkit.bijectors import Autoregressive
from flowkit.conditioners import CausalTransformer, ViT
from flowkit.transforms import Gaussian

pytestmark = pytest.mark.one_engine


def numbers(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def test_a_sequence_is_heard_in_any_order(perturb):
    net = ViT(8, depth=1, heads=2, features=4, context="required")
    context, x = numbers(3, 5, 2), ops.convert_to_tensor(numbers(3, 2, 2, 3))
    net.build(x.shape, context.shape)
    perturb(net, scale=0.5)
    heard = f64(net(x, context=ops.convert_to_tensor(context)))
    turned = f64(net(x, context=ops.convert_to_tensor(context[:, ::-1].copy())))
    np.testing.assert_allclose(heard, turned, atol=1e-5)
    assert np.abs(heard - f64(net(x, context=ops.convert_to_tensor(2 * context)))).max() > 1e-2


@pytest.mark.parametrize("places", [5, 6])  # 6: as many as the image has
@pytest.mark.parametrize("order", [None, "reversed"])
def test_a_sequence_beside_an_image_is_no_map(places, order, perturb):
    layer = Autoregressive(
        CausalTransformer(8, depth=1, heads=2, context="required"), Gaussian(), order=order
    )
    x, context = numbers(3, 2, 3, 2), numbers(3, places, 4)
    layer.build_for(x.shape, context.shape)
    perturb(layer)
    z, _ = layer(x, context=context)
    turned, _ = layer(x, context=context[:, ::-1].copy())
    np.testing.assert_allclose(f64(z), f64(turned), rtol=1e-4, atol=1e-5)
    assert np.abs(f64(z) - f64(layer(x, context=2 * context)[0])).max() > 1e-3
    back, _ = layer.inverse(z, context=context)
    np.testing.assert_allclose(f64(back), x, atol=1e-4)
