"""Inverse: everything changes places."""

import numpy as np
import pytest
from arrays import f64

from flowkit.bijectors import ActNorm, Chain, Exp, Inverse, Logit, Repeat, Scale, Shift, Sigmoid, Squeeze
from flowkit.contract import ContractError, Domain

pytestmark = pytest.mark.one_engine


def test_the_directions_change_places():
    x = np.array([[0.3, 0.8]], "float32")
    for backwards, forwards in (
        (Inverse(Sigmoid())(x), Sigmoid().inverse(x)),
        (Inverse(Sigmoid()).inverse(x), Sigmoid()(x)),
        (Inverse(Inverse(Sigmoid()))(x), Sigmoid()(x)),
        (Inverse(Sigmoid())(x), Logit()(x)),
    ):
        for one, other in zip(backwards, forwards, strict=True):
            np.testing.assert_array_equal(f64(one), f64(other))


def test_the_spec_is_read_backwards():
    spec = Inverse(Chain([Scale(1.0), Exp()])).spec
    assert (spec.domain, spec.codomain, spec.log_det) == (Domain.POSITIVE, Domain.REAL, "varying")


def test_the_shapes_are_read_backwards():
    layer = Inverse(Squeeze())
    x = np.random.default_rng(0).normal(size=(2, 2, 2, 4)).astype("float32")
    z, _ = layer(x)
    assert tuple(z.shape) == layer.compute_output_shape(x.shape) == (2, 4, 4, 1)
    assert layer.compute_inverse_shape((2, 4, 4, 1)) == x.shape
    np.testing.assert_array_equal(f64(layer.inverse(z)[0]), x)


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


@pytest.mark.parametrize("inverse", [False, True])
def test_the_inner_bijector_checks_shapes_whichever_way_it_is_read(inverse):
    grow = Inverse(Squeeze())
    grow(np.zeros((2, 4, 4, 4), "float32"))
    call, shape = (grow.inverse, (4, 5, 4, 1)) if inverse else (grow, (2, 4, 4, 6))
    with pytest.raises(ContractError, match=r"a multiple of (2, received 5|4, received shape)"):
        call(np.zeros(shape, "float32"))
