"""Reshape and Flatten: row-major order, and the sizes they refuse."""

import numpy as np
import pytest
from arrays import array

from flowkit.bijectors import Flatten, Reshape
from flowkit.contract import ContractError

pytestmark = pytest.mark.one_engine

X = np.arange(24, dtype="float32").reshape(2, 3, 4)


@pytest.mark.parametrize("layer", [Reshape((2, 6)), Reshape((12,)), Flatten(), Reshape((2, 2, 3))])
def test_there_and_back_in_row_major_order(layer):
    z, log_det = layer(X)
    np.testing.assert_array_equal(array(z).ravel(), X.ravel())
    np.testing.assert_array_equal(array(layer.inverse(z)[0]), X)
    np.testing.assert_array_equal(array(log_det), np.zeros(2))
    assert tuple(z.shape) == layer.compute_output_shape(X.shape)
    assert layer.compute_inverse_shape(tuple(z.shape)) == X.shape


@pytest.mark.parametrize("layer", [Reshape((12,), source=(3, 4)), Flatten(source=(3, 4))])
def test_with_its_source_it_can_start_from_latents(layer):
    np.testing.assert_array_equal(array(layer.inverse(X.reshape(2, 12))[0]), X)


@pytest.mark.parametrize("layer", [Reshape((12,)), Flatten()])
def test_without_it_latents_before_data_are_refused(layer):
    with pytest.raises(ContractError, match="a first call on data, or source="):
        layer.inverse(X.reshape(2, 12))


@pytest.mark.one_engine
def test_sizes_that_differ_are_refused():
    with pytest.raises(ContractError, match=r"an event of 10 entries to make \(10,\) of, received \(3, 4\)"):
        Reshape((10,))(X)


@pytest.mark.one_engine
def test_another_event_than_the_first_is_refused():
    layer = Flatten()
    layer(X)
    with pytest.raises(ContractError, match=r"an event of shape \(3, 4\)"):
        layer(X.reshape(2, 4, 3))
    with pytest.raises(ContractError, match=r"latents of event shape \(12,\)"):
        layer.inverse(np.zeros((2, 11), "float32"))


@pytest.mark.one_engine
@pytest.mark.parametrize("target", [4, (-1, 2), (2.0,), "4"])
def test_a_target_that_is_no_shape_is_refused(target):
    with pytest.raises(ValueError, match="the sizes of an event"):
        Reshape(target)


@pytest.mark.one_engine
def test_flatten_is_shown_as_it_is_called():
    assert (repr(Flatten()), repr(Flatten(source=(2, 3)))) == ("Flatten()", "Flatten(source=[2, 3])")
