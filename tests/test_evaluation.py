"""What each level carries: by hand, of uniform data, and that it adds up."""

import math

import keras
import numpy as np
import pytest
from keras import ops

from flowkit import Flow, zoo
from flowkit.bijectors import Chain, MultiScale, Scale, Shift, Squeeze
from flowkit.data import Dequantize
from flowkit.distributions import Normal
from flowkit.evaluation import level_bits

EPSILON = np.finfo("float32").eps


class Cube(Normal):
    """log p(z) = 0 on [-1/2, 1/2), -inf outside: what uniform images become."""

    def log_prob(self, z, context=None):
        return ops.where(ops.all(ops.logical_and(z >= -0.5, z < 0.5), axis=-1), 0.0, -math.inf)


@pytest.mark.parametrize("bits", [pytest.param(8, marks=pytest.mark.two_engines), 1, 5])
def test_uniform_data_over_2_to_the_b_levels_have_b_bits_in_each_entry_of_each_level(bits):
    flow = Flow(MultiScale([Squeeze(), Squeeze(), Chain([])]), Cube(), dequantize=Dequantize(bits))
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1), dtype="uint8")
    images[0], images[1] = 0, 255
    carried = level_bits(flow, images)
    # 32 entries leave first, then 16 of the 32 that are left; 16 are left.
    np.testing.assert_allclose(
        carried, np.broadcast_to([bits / 2, bits / 4, bits / 4], (20, 3)), rtol=8 * EPSILON
    )
    np.testing.assert_allclose(flow.bits_per_dim(images), bits, rtol=8 * EPSILON)


def test_by_hand():
    """Each entry is a normal with the scale that it has been given until it leaves."""
    first, second = 0.7, -0.3
    bijector = Chain(
        [Shift(0.5), MultiScale([Chain([Squeeze(), Scale(first)]), Chain([Squeeze(), Scale(second)])])]
    )
    flow = Flow(bijector)
    x = np.random.default_rng(0).normal(size=(6, 4, 4, 1)).astype("float32")
    z = flow.encode(x).astype("float64")
    log_prob = -0.5 * (z**2 + math.log(2 * math.pi)) + np.repeat([first, first + second], 8)
    expected = -log_prob.reshape(6, 2, 8).sum(axis=2) / (16 * math.log(2))
    np.testing.assert_allclose(level_bits(flow, x), expected, atol=32 * EPSILON)


def test_one_scale_for_all_leaves_the_levels_alike():
    """A scale's log-det belongs to all that it has scaled, also to what goes on."""
    flow = Flow(Chain([MultiScale([Chain([Squeeze(), Scale(3.0)]), Squeeze()])]))
    x = np.full((1, 4, 4, 1), math.exp(-3), "float32")
    first, second = level_bits(flow, x)[0]
    assert first == pytest.approx(second, abs=16 * float(EPSILON))


@pytest.mark.parametrize("options", [{}, {"n_bits": 5}, {"n_bits": None}, {"num_classes": 3}, {"levels": 3}])
def test_levels_add_up(perturb, images, labels, options):
    flow = perturb(zoo.glow(**{"levels": 2, "steps": 1, "width": 4, "input_shape": (8, 8, 1), **options}))
    x = images if options.get("n_bits", 8) else (images / 256).astype("float32")
    context = labels if "num_classes" in options else None
    carried = level_bits(flow, x, context, seed=4, batch_size=5)
    assert carried.shape == (16, options.get("levels", 2))
    # Sums of the same terms in another order: some units of the largest, 8 bits for each entry.
    np.testing.assert_allclose(
        carried.sum(axis=1), flow.bits_per_dim(x, context, seed=4), atol=8 * 32 * EPSILON
    )


def test_few_bits_really_quantise(perturb, images):
    flow = perturb(zoo.glow(levels=2, steps=1, width=4, n_bits=5, input_shape=(8, 8, 1)))
    np.testing.assert_array_equal(level_bits(flow, images), level_bits(flow, images // 8 * 8))
    np.testing.assert_array_equal(flow.bits_per_dim(images), flow.bits_per_dim(images // 8 * 8))
    assert (flow.bits_per_dim(images) != flow.bits_per_dim(images // 16 * 16)).any()


def test_what_has_no_levels_is_refused(images):
    class Own(keras.Layer):
        def log_prob(self, z, context=None):
            return ops.zeros(ops.shape(z)[0])

    with pytest.raises(ValueError, match="level_bits: got Own as the flow's base, expected Normal"):
        level_bits(Flow(MultiScale([Squeeze()]), Own()), images)
