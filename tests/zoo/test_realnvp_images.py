"""Real NVP for images: its levels, its couplings, and round trips."""

import math

import numpy as np
import pytest

from flowkit import zoo
from flowkit.contract import ContractError

pytestmark = pytest.mark.one_engine

SMALL = {"input_shape": (8, 8, 2), "width": 4, "blocks": 1}


def test_it_is_trained_in_levels_and_decodes_what_it_encoded(perturb):
    flow = perturb(zoo.realnvp_images(**SMALL))
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 2), dtype="uint8")
    assert (flow.decode(flow.encode(images)) == images).all()
    assert flow.bijector.parts[-1].latent_events == [(4, 4, 4), (4, 4, 4)]


def test_by_default_it_has_the_published_couplings():
    flow = zoo.realnvp_images(input_shape=(4, 4, 1))
    first, last = flow.bijector.parts[-1].scales
    splits = [(part.split, part.swap) for part in first.parts if hasattr(part, "split")]
    assert splits == [(word, swap) for word in ("checkerboard", "channels") for swap in (False, True, False)]
    assert [part.swap for part in last.parts if hasattr(part, "split")] == [False, True, False, True]
    assert (first.parts[0].conditioner.width, first.parts[0].conditioner.blocks) == (64, 8)


def test_too_many_levels_for_the_image():
    with pytest.raises(ContractError, match="at least 2 places"):
        zoo.realnvp_images(**SMALL, levels=4)


def test_the_weights_for_cifar10_are_those_of_residual_networks():
    """Counted by hand, with the defaults: 3 + 3 couplings of 32x32x3 and 16x16x12, then 4 of 16x16x6."""

    def size(seen, moved, width=64, blocks=8):
        first, inner = (9 * seen + 1) * width, 2 * blocks * (9 * width + 1) * width
        # The last one sees the edge of the image, and scales its outputs.
        return first + inner + (9 * (width + 1) + 2) * 2 * moved

    flow = zoo.realnvp_images(input_shape=(32, 32, 3))
    networks = 3 * size(3, 3) + 3 * size(6, 6) + 4 * size(6, 6)
    norms = 2 * (3 * 3 + 3 * 12 + 4 * 6)
    count = sum(math.prod(weight.shape) for weight in flow.trainable_weights)
    assert count == networks + norms == 5_998_508
