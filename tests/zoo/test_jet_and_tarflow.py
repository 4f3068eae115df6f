"""Jet and TarFlow against their published formulas, in float64 numpy without shared code, with copied weights."""

import math

import keras
import numpy as np
import pytest
from arrays import f64
from keras import ops

import flowkit
from flowkit import zoo
from flowkit.bijectors import Equalize, Scale
from flowkit.conditioners import LabelDropout
from flowkit.contract import ContractError
from flowkit.contract.call import Call
from flowkit.data import GaussianNoise

SHAPE = (8, 4, 3)
CLOSE = {"atol": 2e-5, "rtol": 2e-5}


# The published formulas


def patches(x, p):
    """(batch, h, w, c) -> (batch, places, c p p): channels in the order of `Squeeze`."""
    b, h, w, c = x.shape
    x = x.reshape(b, h // p, p, w // p, p, c).transpose(0, 1, 3, 5, 2, 4)
    return x.reshape(b, (h // p) * (w // p), c * p * p)


def image(tokens, p, shape):
    h, w, c = shape
    x = tokens.reshape(-1, h // p, w // p, c, p, p).transpose(0, 1, 4, 2, 5, 3)
    return x.reshape(-1, h, w, c)


def normed(x, weights, name, epsilon):
    x = x - x.mean(-1, keepdims=True)
    x = x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon)
    return x * weights[f"{name}_scale"] + weights[f"{name}_bias"]


def linear(x, weights, name):
    return x @ weights[f"{name}_weight"] + weights[f"{name}_bias"]


def gelu(x, approximate):
    if approximate:
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def attention(h, weights, heads, causal):
    b, n, width = h.shape
    q, k, v = np.split(linear(h, weights, "qkv"), 3, axis=-1)
    q, k, v = (a.reshape(b, n, heads, -1) for a in (q, k, v))
    scores = np.einsum("bqhd,bkhd->bhqk", q, k) / math.sqrt(width / heads)
    if causal:
        scores[..., np.triu(np.ones((n, n), bool), 1)] = -np.inf
    share = np.exp(scores - scores.max(-1, keepdims=True))
    share /= share.sum(-1, keepdims=True)
    return linear(np.einsum("bhqk,bkhd->bqhd", share, v).reshape(b, n, width), weights, "projection")


def transformer(h, weights, heads, *, causal, approximate, epsilon):
    """All layers, after the first linear one and the positions."""
    stacked = ("attention_norm", "qkv", "projection", "mlp_norm", "up", "down")
    for row in range(len(weights["qkv_weight"])):
        layer = {name: value[row] for name, value in weights.items() if name.startswith(stacked)}
        h = h + attention(normed(h, layer, "attention_norm", epsilon), layer, heads, causal)
        wide = gelu(linear(normed(h, layer, "mlp_norm", epsilon), layer, "up"), approximate)
        h = h + linear(wide, layer, "down")
    return h


def weights_of(network):
    return {name: f64(weight) for name, weight in network.weights_by_name.items()}


def jet_coupling(x, layer, heads):
    """One coupling of patches, by one-hot matrices as published."""
    weights, (b, n, c) = weights_of(layer.conditioner), x.shape
    entries = f64(layer.indices).astype(int)
    if layer.chosen == "channels":
        one_hot = np.eye(c)[:, entries[: c // 2].tolist() + entries[n * c // 2 :][: c // 2].tolist()]
        kept, changed = np.split(x @ one_hot, 2, axis=-1)
    else:
        one_hot = np.eye(n)[:, entries.reshape(n, c)[:, 0] // c]
        kept, changed = np.split(np.einsum("bnc,nm->bmc", x, one_hot), 2, axis=1)
        kept, changed = kept.reshape(b, n, c // 2), changed.reshape(b, n, c // 2)
    h = linear(kept, weights, "in") + weights["positions"]
    h = transformer(h, weights, heads, causal=False, approximate=True, epsilon=1e-6)
    bias, raw = np.split(linear(normed(h, weights, "norm", 1e-6), weights, "out"), 2, axis=-1)
    changed = (changed + bias) * 2 / (1 + np.exp(-raw))
    log_det = (math.log(2) - np.log1p(np.exp(-raw))).sum((1, 2))
    if layer.chosen == "channels":
        return np.concatenate([kept, changed], axis=-1) @ one_hot.T, log_det
    halves = [half.reshape(b, n // 2, c) for half in (kept, changed)]
    return np.einsum("bmc,nm->bnc", np.concatenate(halves, axis=1), one_hot), log_det


def tarflow_block(x, layer, heads, labels):
    """One block as published, but for the sum in place of the mean of the log-det."""
    weights = weights_of(layer.conditioner)
    x = x[:, ::-1] if layer.order else x
    table = f64(layer.conditioner.bias.kernel)
    row = table.mean(0) if labels is None else table[labels][:, None]
    h = linear(x, weights, "in") + row + weights["positions"]
    h = linear(transformer(h, weights, heads, causal=True, approximate=False, epsilon=1e-5), weights, "out")
    h = np.concatenate([np.zeros_like(h[:, :1]), h[:, :-1]], axis=1)
    mean, a = np.split(h, 2, axis=-1)
    z = (x - mean) * np.exp(-a)
    return (z[:, ::-1] if layer.order else z), -a.sum((1, 2))


# Both families


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(3, *SHAPE)).astype("float32")


@pytest.fixture(scope="module")
def jet(perturb):
    return perturb(zoo.jet(depth=6, block_depth=2, width=8, heads=2, patch=2, n_bits=None, input_shape=SHAPE))


@pytest.fixture(scope="module")
def tarflow(perturb):
    sizes = {"blocks": 3, "depth": 2, "width": 8, "heads": 2, "input_shape": SHAPE}
    return perturb(zoo.tarflow(**sizes, num_classes=3, label_dropout=0.5), scale=0.05)


def repeated(flow):
    """The couplings, or the blocks, of a flow, in their order."""
    copies = flow.bijector.parts[2].copies()
    if isinstance(copies[0], flowkit.bijectors.Chain):
        copies = [part for pair in copies for part in pair.parts]
    return [*copies, *(part for chain in flow.bijector.parts[3:-1] for part in chain.parts)]


def test_jet_computes_the_published_formulas(jet, x):
    tokens, total = patches(2 * x.astype("float64"), 2), x[0].size * math.log(2)
    chosen = [layer.chosen for layer in repeated(jet)]
    assert chosen == ["channels"] * 4 + ["checkerboard", "channels"]
    for layer in repeated(jet):
        tokens, log_det = jet_coupling(tokens, layer, heads=2)
        total = total + log_det
    z, log_det = jet.bijector(x)
    np.testing.assert_allclose(f64(z), image(tokens, 2, SHAPE), **CLOSE)
    np.testing.assert_allclose(f64(log_det), total, **CLOSE)


@pytest.mark.parametrize("labels", [None, [0, 2, 1]])
def test_tarflow_computes_the_published_formulas(tarflow, x, labels):
    tokens, total = patches(2 * x.astype("float64"), 2), x[0].size * math.log(2)
    for layer in repeated(tarflow):
        tokens, log_det = tarflow_block(tokens, layer, 2, labels)
        total = total + log_det
    context = None if labels is None else np.array(labels)
    z, log_det = tarflow.bijector(x, context=context)
    np.testing.assert_allclose(f64(z), image(tokens, 2, SHAPE), **CLOSE)
    np.testing.assert_allclose(f64(log_det), total, **CLOSE)


@pytest.mark.parametrize("make", [zoo.jet, zoo.tarflow])
def test_pixels_may_enter_by_their_histogram(make):
    images = np.random.default_rng(0).integers(0, 256, (16, 8, 8, 1), dtype="uint8") // 64 * 64
    flow = make(depth=1, width=8, patch=2, n_bits=2, equalize=True, input_shape=(8, 8, 1)).adapt(images)
    assert type(flow.bijector.parts[0]) is Equalize
    assert flow.bijector.parts[0].levels == 4
    assert (flow.decode(flow.encode(images)) == images).all()


def parameters(block, x, labels):
    return np.split(f64(block.conditioner(x.reshape(3, 8, 12).astype("float32"), context=labels)), 2, axis=-1)


def test_guidance_moves_samples_away_from_those_without_labels(tarflow, jet):
    block, labels = repeated(tarflow)[-1], np.array([0, 1, 2])
    z = np.random.default_rng(2).normal(size=(3, 4, 2, 12)).astype("float32")
    call = Call(ops.convert_to_tensor(labels), guidance=1.5)
    x, log_det = block.run(ops.convert_to_tensor(z), call.turned())
    back, log_det_back = block.run(x, call)
    np.testing.assert_allclose(f64(back), z, atol=1e-4)
    np.testing.assert_allclose(f64(log_det), -f64(log_det_back), atol=1e-4)
    (mean, a), (free_mean, free_a) = (parameters(block, f64(x), some) for some in (labels, None))
    mean, a = mean + 1.5 * (mean - free_mean), a + 1.5 * (a - free_a)
    # The first place is as it was, and each other follows from those before it.
    np.testing.assert_allclose(f64(x).reshape(3, 8, 12), z.reshape(3, 8, 12) * np.exp(a) + mean, **CLOSE)
    assert tarflow.sample(2, [0, 1], guidance=2.0, seed=0).shape == (2, 2, *SHAPE)
    for flow, context, weight in ((tarflow, None, 1.0), (jet, None, 1.0), (tarflow, [0], -1.0)):
        with pytest.raises(ValueError, match=r"guidance: (got|expected)"):
            flow.sample(2, context, guidance=weight)


def test_training_alone_drops_labels():
    layer, labels = LabelDropout(10, rate=0.5), np.arange(1000) % 10
    np.testing.assert_array_equal(f64(layer(labels)), labels)
    seen = f64(layer(labels, training=True))
    assert 400 < (seen == -1).sum() < 600
    assert (seen == labels)[seen >= 0].all()


def test_samples_lose_the_noise_that_training_adds():
    """For data of deviation 1/2 with noise of deviation s, the mean given y is y (1 - 4 s^2)."""
    flow = flowkit.Flow(Scale(math.log(2)), dequantize=GaussianNoise(0.25))
    flow.build((None, 2, 2, 1))
    assert flow.exact == "estimate"
    images = np.random.default_rng(0).integers(0, 256, (8, 2, 2, 1), dtype="uint8")
    assert (flow.decode(flow.encode(images)) == images).all()
    latents = flowkit.flow.sampling.latents(flow, 16, None, 1.0, seed=3)
    expected = flow.dequantize.as_stored(latents / 2 * (1 - 4 * 0.25**2))
    off = flow.sample(16, seed=3).astype(int) - expected
    assert np.abs(off).max() <= 1  # by rounding
    scores = [flow.log_prob(images, seed=seed) for seed in range(4)]
    np.testing.assert_allclose(flow.log_prob(images, samples=4), flow.log_prob(images, samples=4), rtol=0)
    assert np.ptp(scores, axis=0).min() > 0


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: zoo.jet(width=100, heads=3), ValueError, "got 100, expected a multiple of the 3 heads"),
        (lambda: zoo.tarflow(noise="gaussian", equalize=True), ValueError, "expected noise='uniform'"),
        (
            lambda: zoo.jet(depth=5, width=8, patch=4, input_shape=(12, 12, 1)),
            ContractError,
            "expected two halves of equal size for the split 'checkerboard'",
        ),
        (lambda: zoo.jet(width=8, patch=4, input_shape=(10, 8, 1)), ContractError, "multiple"),
        (
            lambda: flowkit.bijectors.PatchCoupling(None, splits=["stripes"]),
            ValueError,
            "a split: got 'stripes', expected one of",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make, error, says):
    keras.utils.set_random_seed(0)
    with pytest.raises(error, match=says):
        make()
