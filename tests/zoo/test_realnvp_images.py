"""Real NVP for images: its levels, its couplings, and round trips."""

import numpy as np

from flowkit import zoo

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
