"""MultiScale: which latents leave when, what whitens them, and the images it cannot take."""

import keras
import numpy as np
import pytest
from arrays import f64

from flowkit.bijectors import Chain, MultiScale, Scale, Squeeze
from flowkit.conditioners import ScaledConv, TopPrior
from flowkit.contract import ContractError

pytestmark = pytest.mark.one_engine

EPSILON = np.finfo("float32").eps


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(5, 8, 4, 1)).astype("float32")


def squeeze(x):
    b, h, w, c = x.shape
    return x.reshape(b, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 5, 2, 4).reshape(b, h // 2, w // 2, 4 * c)


def split(x):
    return np.split(x, 2, axis=-1)


def test_the_second_half_of_the_channels_leaves_first(x):
    flow = MultiScale([Squeeze(), Squeeze(), Chain([])])
    z, log_det = flow(x)
    kept, first = split(squeeze(x))
    kept, second = split(squeeze(kept))
    expected = np.concatenate([part.reshape(5, -1) for part in (first, second, kept)], axis=1)
    np.testing.assert_array_equal(f64(z), expected)
    np.testing.assert_array_equal(f64(log_det), np.zeros(5))
    np.testing.assert_array_equal(f64(flow.inverse(z)[0]), x)
    for part, mine in zip(flow.split_latents(z), (first, second, kept), strict=True):
        np.testing.assert_array_equal(f64(part), mine)
    np.testing.assert_array_equal(f64(flow.join_latents(flow.split_latents(z))), expected)


def given(channels, seed=0):
    """A known 1x1 network from `channels` to twice as many, and the same in float64."""
    rng = np.random.default_rng(seed)
    layer = keras.layers.Dense(2 * channels)
    layer.build((None, channels))
    layer.set_weights([rng.normal(0, 0.3, w.shape).astype("float32") for w in layer.weights])
    w, b = (a.astype("float64") for a in layer.get_weights())
    return layer, lambda x: x @ w + b


@pytest.mark.wide
@pytest.mark.parametrize("layout", ["interleaved", "contiguous"])
def test_what_leaves_is_whitened_by_what_stays(x, layout):
    prior, function = given(2)
    z, log_det = MultiScale([Squeeze(), Chain([])], priors=[prior], prior_layout=layout)(x)
    kept, left = (a.astype("float64") for a in split(squeeze(x)))
    h = function(kept)
    mean, logs = (h[..., 0::2], h[..., 1::2]) if layout == "interleaved" else (h[..., :2], h[..., 2:])
    eps = (left - mean) * np.exp(-logs)
    atol = 32 * EPSILON * np.abs(eps).max()
    np.testing.assert_allclose(
        f64(z), np.concatenate([eps.reshape(5, -1), kept.reshape(5, -1)], 1), atol=atol
    )
    np.testing.assert_allclose(f64(log_det), -logs.sum((1, 2, 3)), atol=32 * 16 * EPSILON)


@pytest.mark.wide
@pytest.mark.parametrize("answer", [-1e4, -3.0, 0.5, 1e4])
def test_min_scale_bounds_the_standard_deviations_of_priors(x, answer):
    prior = keras.layers.Dense(4, kernel_initializer="zeros")
    prior.build((None, 2))
    prior.bias.assign(np.array([0.0, answer, 0.0, answer]))  # mean and logs take turns
    flow = MultiScale([Squeeze(), Chain([])], priors=[prior], min_scale=0.1)
    z, _ = flow(x)
    _, left = split(squeeze(x))
    logs = np.log(10) * np.tanh(answer / np.log(10))
    np.testing.assert_allclose(
        f64(z)[:, : left[0].size], (left * np.exp(-logs)).reshape(5, -1), rtol=64 * EPSILON
    )
    assert np.isfinite(f64(flow.inverse(z)[0])).all()


def test_the_top_prior_deals_its_channels_in_halves(x):
    top = TopPrior(num_classes=3)
    flow = MultiScale([Squeeze()], top_prior=top)
    labels = np.array([0, 1, 2, 0, 1])
    flow(x, context=labels)
    rng = np.random.default_rng(0)
    for weight in flow.trainable_weights:
        weight.assign(rng.normal(0, 0.2, tuple(weight.shape)))
    bias, logs, edge = f64(top.conv.bias), f64(top.conv.logs), f64(top.conv.kernel)[:, :, -1]
    ring = np.pad(np.zeros((4, 2)), 1, constant_values=1)
    h = np.zeros((5, 4, 2, 8)) + bias
    for i in range(4):
        for j in range(2):
            h[:, i, j] += np.einsum("ab,abc->c", ring[i : i + 3, j : j + 3], edge)
    h *= np.exp(3 * logs)
    e = top.embedding
    h += ((f64(e.kernel)[labels] + f64(e.bias)) * np.exp(3 * f64(e.logs)))[:, None, None]
    mean, logs = h[..., :4], h[..., 4:]
    z, log_det = flow(x, context=labels)
    atol = 64 * EPSILON * (1 + np.abs(h).max()) * np.exp(np.abs(logs).max())
    np.testing.assert_allclose(f64(z), ((squeeze(x) - mean) * np.exp(-logs)).reshape(5, -1), atol=atol)
    np.testing.assert_allclose(f64(log_det), -logs.sum((1, 2, 3)), atol=32 * atol)


@pytest.mark.one_engine
@pytest.mark.parametrize("size", [(30, 33, 3), (28, 30, 3)])
def test_a_wrong_size_is_told_with_sizes_that_fit_all_levels(size):
    """Also where the first level cannot halve it, and where parts before the squeeze take any size."""
    for scale in ([Squeeze()], [Scale(), Squeeze()]):
        flow = MultiScale([Chain(scale) for _ in range(3)])
        with pytest.raises(ContractError, match=r"24x\d+ or 32x\d+ \(multiples of 8\)"):
            flow(np.zeros((2, *size), "float32"))
    for side in (24, 32):
        MultiScale([Chain([Squeeze()]) for _ in range(3)])(np.zeros((2, side, side, 3), "float32"))


def test_parts_that_are_built_leave_the_size_open(x):
    def flow():
        return MultiScale(
            [Chain([Squeeze(), Scale()]), Squeeze()], priors=[ScaledConv(zeros=True)], top_prior=TopPrior()
        )

    one = flow()
    one.build_parts((None, 4, 4, 1))
    assert not one.built
    one.scales[0].parts[1].log_scale.assign([0.1, 0.2, 0.3, 0.4])
    with pytest.raises(ContractError, match="to know the size of the data"):
        one.inverse(np.zeros((1, 32), "float32"))
    with pytest.raises(ContractError, match="which its weights were made for"):
        one.build((None, 8, 4, 3))
    other = flow()
    other(x)
    for mine, theirs in zip(other.weights, one.weights, strict=True):
        mine.assign(f64(theirs))
    np.testing.assert_array_equal(f64(one(x)[0]), f64(other(x)[0]))


def test_priors_are_refreshed_with_what_is_kept(x):
    class Counting(ScaledConv):
        seen = None

        def refresh(self, h, context=None):
            self.seen = f64(h)

    prior = Counting(zeros=True)
    flow = MultiScale([Squeeze(), Squeeze()], priors=[prior])
    assert flow.refreshes
    flow(x)
    assert prior.seen is None  # neither direction changes state
    flow.run_refresh(keras.ops.convert_to_tensor(x), None)
    np.testing.assert_array_equal(prior.seen, split(squeeze(x))[0])
