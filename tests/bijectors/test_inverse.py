"""Inverse: everything changes places."""

import numpy as np
import pytest
from arrays import f64

from flowkit.bijectors import ActNorm, Chain, Inverse, Repeat, Scale, Shift, Squeeze

pytestmark = pytest.mark.one_engine


def test_what_is_inside_is_built_for_its_own_data():
    inner = Chain([Shift(), Squeeze()])
    Inverse(inner)(np.ones((2, 2, 2, 8), "float32"))
    assert tuple(inner.parts[0].shift.shape) == (2,)


def test_what_is_inside_adapts_to_standard_normal_numbers():
    x = np.random.default_rng(0).normal(5, 2, (4096, 3)).astype("float32")
    z, _ = Inverse(Chain([Scale(2.0), ActNorm()])).adapt(x)(x)
    np.testing.assert_allclose(f64(z), x, rtol=0.2, atol=0.5)  # what it is given is scaled, and scaled back


def test_copies_of_it_adapt():
    layer = Repeat(Inverse(ActNorm()), 2)
    assert layer.adapt(np.ones((8, 3), "float32")).adapted
