"""Coupling: the formula, which channels are which, the masks."""

import keras
import numpy as np
import pytest
from arrays import f64

from flowkit.bijectors import Coupling
from flowkit.conditioners import MLP
from flowkit.contract import ContractError
from flowkit.transforms import Affine, RationalQuadratic

pytestmark = pytest.mark.one_engine

EPSILON = np.finfo("float32").eps


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def dense(given, answers):
    """A linear conditioner with known weights, and the same in float64."""
    rng = np.random.default_rng(0)
    w, b = rng.normal(0, 0.5, (given, answers)), rng.normal(0, 0.5, answers)
    layer = keras.layers.Dense(answers)
    layer.build((None, given))
    layer.set_weights([w.astype("float32"), b.astype("float32")])
    w, b = (np.asarray(a, np.float64) for a in layer.get_weights())
    return layer, lambda x: x @ w + b


@pytest.fixture
def x():
    return np.random.default_rng(1).normal(size=(5, 3, 7)).astype("float32")  # 7 channels: 4 + 3


# Results are of the size of at most |x| + |shift| < 16, and pass through some 10 roundings.
ATOL = 10 * 16 * EPSILON


@pytest.mark.wide("scale")
@pytest.mark.parametrize("order", ["shift-scale", "scale-shift"])
@pytest.mark.parametrize("layout", ["interleaved", "contiguous"])
@pytest.mark.parametrize("scale", ["sigmoid", "tanh"])
@pytest.mark.parametrize("swap", [False, True])
def test_affine_by_hand(x, swap, scale, layout, order):
    kept, moved = (x[..., 4:], x[..., :4]) if swap else (x[..., :4], x[..., 4:])
    layer, function = dense(kept.shape[-1], 2 * moved.shape[-1])
    h = function(kept.astype("float64"))
    n = moved.shape[-1]
    first, second = (h[..., 0::2], h[..., 1::2]) if layout == "interleaved" else (h[..., :n], h[..., n:])
    shift, s = (first, second) if order == "shift-scale" else (second, first)
    factor = sigmoid(s + 2) if scale == "sigmoid" else np.exp(2 * np.tanh(s / 2))
    expected = (moved + shift) * factor
    coupling = Coupling(layer, Affine(scale, order=order), swap=swap, layout=layout)
    z, log_det = coupling(x)
    whole = (expected, kept) if swap else (kept, expected)
    # The tanh scale goes up to e^2.
    np.testing.assert_allclose(f64(z), np.concatenate(whole, -1), atol=ATOL * np.exp(2))
    np.testing.assert_allclose(f64(log_det), np.log(factor).sum((1, 2)), atol=ATOL * 3)
    back, log_det_back = coupling.inverse(z)
    np.testing.assert_allclose(f64(back), x, atol=ATOL * np.exp(2) / factor.min())
    np.testing.assert_array_equal(f64(log_det_back), -f64(log_det))


def test_at_the_start_the_scale_is_as_published(x):
    """sigmoid(2) = 0.880797, ln = -0.126928 for each changed entry (glow-spec)."""
    z, log_det = Coupling(MLP([8]))(x)
    np.testing.assert_allclose(f64(z)[..., 4:], 0.880797 * x[..., 4:].astype("float64"), atol=5e-7 * 4)
    np.testing.assert_allclose(f64(log_det), -0.126928 * 9, atol=5e-7 * 9)  # the figure has 6 digits


@pytest.mark.wide
@pytest.mark.parametrize(
    ("options", "low", "high"),
    [
        ({"scale": "sigmoid"}, 0, 1),
        ({"scale": "sigmoid", "min_scale": 0.25}, 0.25, 1),
        ({"scale": "tanh"}, np.exp(-2), np.exp(2)),
    ],
)
def test_scales_stay_in_the_documented_interval(options, low, high):
    layer, _ = dense(1, 2)
    coupling = Coupling(layer, Affine(**options))
    x = np.stack([np.linspace(-200, 200, 41), np.ones(41)], axis=-1).astype("float32")
    _, log_det = coupling(x)
    factor = np.exp(f64(log_det))
    assert np.isfinite(f64(log_det)).all()
    assert ((low * (1 - 4 * EPSILON) <= factor) & (factor <= high * (1 + 4 * EPSILON))).all()


@pytest.mark.wide
@pytest.mark.parametrize("swap", [False, True])
def test_checkerboard_by_hand(swap):
    x = np.random.default_rng(0).normal(size=(3, 4, 4, 2)).astype("float32")
    net = keras.layers.Conv2D(4, 3, padding="same", bias_initializer="glorot_uniform")
    coupling = Coupling(net, split="checkerboard", swap=swap)
    z, log_det = coupling(x)
    kept = np.indices((4, 4)).sum(0) % 2 == swap
    kept = np.broadcast_to(kept[None, :, :, None], x.shape)
    np.testing.assert_array_equal(f64(z)[kept], x[kept])
    h = f64(net(np.where(kept, x, 0)))  # the network sees zeros where things change
    factor = sigmoid(h[..., 2:] + 2)
    expected = np.where(kept, x, (x + h[..., :2]) * factor)
    np.testing.assert_allclose(f64(z), expected, atol=ATOL)
    np.testing.assert_allclose(f64(log_det), np.where(kept, 0, np.log(factor)).sum((1, 2, 3)), atol=ATOL)


@pytest.mark.wide
@pytest.mark.parametrize("split", ["channels", "checkerboard", "alternating"])
def test_it_is_built_for_images_of_a_size_that_is_not_known_yet(split):
    layer = Coupling(MLP([4]), split=split)
    layer.build_for((None, None, None, 2))
    for size in (2, 3):
        assert layer(np.ones((1, size, 4, 2), "float32"))[0].shape == (1, size, 4, 2)


def test_alternating_keeps_every_other_entry_of_the_last_axis(perturb):
    x = np.random.default_rng(0).normal(size=(3, 2, 5)).astype("float32")
    for swap in (False, True):
        layer = Coupling(MLP([8]), split="alternating", swap=swap)
        layer.build((None, 2, 5))
        z = f64(perturb(layer)(x)[0])
        np.testing.assert_array_equal(z[..., int(swap) :: 2], x[..., int(swap) :: 2])
        assert (z[..., 1 - swap :: 2] != x[..., 1 - swap :: 2]).all()


def test_a_mask_of_ones_own_says_what_is_kept(perturb):
    mask = np.array([[True, False], [False, False], [True, True]])
    layer = Coupling(MLP([8]), RationalQuadratic(4), split=mask)
    layer.build((None, 3, 2))
    x = np.random.default_rng(0).normal(size=(4, 3, 2)).astype("float32")
    z = f64(perturb(layer)(x)[0])
    np.testing.assert_array_equal(z[:, mask], x[:, mask])
    assert (z[:, ~mask] != x[:, ~mask]).any()
    again = Coupling.from_config(layer.get_config())
    np.testing.assert_array_equal(again.split, mask)
    with pytest.raises(ContractError, match=r"an event for its mask of shape \(3, 2\)"):
        Coupling(MLP([8]), split=mask).build((None, 2, 2))
    with pytest.raises(
        ValueError, match=r"got an event \(4, 2\), expected one for its mask of shape \(3, 2\)"
    ):
        layer(np.ones((1, 4, 2), "float32"))
