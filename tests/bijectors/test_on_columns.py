"""Bijectors of some columns, and transforms that differ by column: which is which, and what is refused."""

import numpy as np
import pytest
from keras import ops

from flowkit.bijectors import Autoregressive, Chain, OnColumns, Pointwise, Scale, Standardize
from flowkit.conditioners import MADE, AngularMADE
from flowkit.contract import ContractError
from flowkit.transforms import Affine, ByColumn, CircularRationalQuadratic, RationalQuadratic

pytestmark = pytest.mark.one_engine


def test_other_columns_stay_bit_for_bit_and_the_log_det_is_that_of_the_part():
    x = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
    layer = OnColumns(Scale([0.5, -1.0]), [False, True, False, True])
    z, log_det = layer(x)
    z = ops.convert_to_numpy(z)
    np.testing.assert_array_equal(z[:, [0, 2]], x[:, [0, 2]])
    np.testing.assert_allclose(z[:, [1, 3]], x[:, [1, 3]] * np.exp([0.5, -1.0]), rtol=1e-6)
    np.testing.assert_allclose(ops.convert_to_numpy(log_det), -0.5, rtol=1e-6)


def test_a_column_that_cannot_be_taken_has_its_place_among_all():
    x = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
    x[:, 3] = 2.0
    with pytest.raises(ContractError, match="received column 3: all 6 entries are 2"):
        OnColumns(Chain([Standardize()]), [False, True, False, True]).adapt(x)


def test_each_column_is_moved_by_its_own_transform(perturb):
    x = ops.convert_to_tensor(np.random.default_rng(0).normal(size=(6, 3)).astype("float32"))
    kinds = [RationalQuadratic(4), CircularRationalQuadratic(4), Affine("tanh")]
    layer = Pointwise(ByColumn(kinds))
    layer(x)
    perturb(layer, scale=1.0)
    z, log_det = (ops.convert_to_numpy(a) for a in layer(x))
    total = 0.0
    for place, kind in enumerate(kinds):
        raw = ops.convert_to_tensor(layer.raw)[: kind.parameters, place : place + 1][None]
        y, log_slope = (
            ops.convert_to_numpy(a) for a in kind.forward(x[:, place : place + 1], *kind.prepare(raw))
        )
        np.testing.assert_allclose(z[:, place], y[:, 0], rtol=1e-6)
        total = total + np.broadcast_to(log_slope, y.shape)[:, 0]
    np.testing.assert_allclose(log_det, total, rtol=1e-5, atol=1e-6)


def test_a_network_that_could_answer_in_turn_leaves_each_entry_its_transform(perturb):
    """To a MADE that answers one entry after another the transform would be one for all."""
    kinds = [RationalQuadratic(4), CircularRationalQuadratic(4), Affine("tanh")]
    layer = Autoregressive(MADE([8]), ByColumn(kinds), order=[2, 0, 1])
    x = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
    layer(x)
    perturb(layer)
    np.testing.assert_allclose(ops.convert_to_numpy(layer.inverse(layer(x)[0])[0]), x, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("angles", [None, [], [1], [0, 2]])
def test_a_masked_network_of_angles_hears_no_entry_too_early(angles, perturb):
    net = AngularMADE([9], angles=angles, features=3)
    x = np.random.default_rng(0).normal(size=(1, 3)).astype("float32")
    net(x)
    perturb(net, scale=1.0)
    h = ops.convert_to_numpy(net(x))[0]
    for place in range(3):
        moved = x.copy()
        moved[0, place] += 1
        changed = ops.convert_to_numpy(net(moved))[0] != h
        assert changed.tolist() == [entry > place for entry in range(3)]
        turned = x.copy()
        turned[0, place] += 2 * np.pi
        gap = np.abs(ops.convert_to_numpy(net(turned))[0] - h)[place + 1 :]
        if place < 2:
            assert (gap.max() < 1e-4) == (angles is None or place in angles)
