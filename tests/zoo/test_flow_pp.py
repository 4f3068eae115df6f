"""Flow++ against its formulas, evaluated in float64 numpy without shared code, and the published size."""

import math
import warnings

import numpy as np
import pytest
from arrays import f64
from tolerance import PARITY

from flowkit import zoo
from flowkit.app.experiment import build_optimizer
from flowkit.app.recipe import read_recipe
from flowkit.bijectors import Coupling
from flowkit.conditioners import GatedAttention, GatedConvNet
from flowkit.contract.noise import Need
from flowkit.flow.rows import counted

SHAPE = (4, 8, 2)
SMALL = {"width": 8, "mixtures": 3, "blocks": 1, "heads": 2, "couplings": (1, 2, 1), "dequantizer_blocks": 1}


# The specification: NHWC, kernels HWIO


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def conv(x, layer):
    kernel = f64(layer.kernel)
    p = kernel.shape[0] // 2
    _, h, w, _ = x.shape
    padded = np.pad(x, [(0, 0), (p, p), (p, p), (0, 0)])
    taps = [(i, j) for i in range(2 * p + 1) for j in range(2 * p + 1)]
    return sum(padded[:, i : i + h, j : j + w] @ kernel[i, j] for i, j in taps) + f64(layer.bias)


def concat_elu(x):
    both = np.concatenate([x, -x], axis=-1)
    return np.where(both > 0, both, np.expm1(both))


def gate(h):
    a, b = np.split(h, 2, axis=-1)
    return a * sigmoid(b)


def gated_conv(x, layer, context):
    h = conv(concat_elu(x), layer.first)
    if context is not None:
        h = h + conv(concat_elu(context), layer.steering)
    return x + gate(conv(concat_elu(h), layer.second))


def attention(x, layer, positions, heads):
    n, h, w, c = x.shape
    q, k, v = (
        (conv(x + positions, layer.first)).reshape(n, h * w, 3, heads, c // heads).transpose(2, 0, 3, 1, 4)
    )
    logits = q @ k.transpose(0, 1, 3, 2) / math.sqrt(c // heads)
    weights = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    seen = (weights @ v).transpose(0, 2, 1, 3).reshape(n, h, w, c)
    return x + gate(conv(seen, layer.second))


def layer_norm(x, layer):
    mean = x.mean(axis=-1, keepdims=True)
    variance = np.square(x - mean).mean(axis=-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-5) * f64(layer.gamma) + f64(layer.beta)


def network(x, net, context):
    h = conv(x, net.first)
    for block in range(net.blocks):
        h = layer_norm(gated_conv(h, net.convs[block], context), net.norms[2 * block])
        h = attention(h, net.attentions[block], f64(net.positions), net.heads)
        h = layer_norm(h, net.norms[2 * block + 1])
    return conv(h, net.last)


def mixture(x, raw, k):
    """(y, log dy/dx) from raw numbers (..., c, 3 k + 2): weights, means, log-scales, s, t."""
    logits, means, log_scales = raw[..., :k], raw[..., k : 2 * k], raw[..., 2 * k : 3 * k]
    weights = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    log_scales = 7 * np.tanh(log_scales / 7)
    reach = (x[..., None] - means - np.linspace(-1, 1, k)) * np.exp(-log_scales)
    below, density = (
        weights * sigmoid(reach),
        weights * sigmoid(reach) * sigmoid(-reach) * np.exp(-log_scales),
    )
    below, density = below.sum(axis=-1), density.sum(axis=-1)
    s, t = np.tanh(raw[..., -2]), raw[..., -1]
    return np.log(below / (1 - below)) * np.exp(s) + t, np.log(density / (below * (1 - below))) + s


def step(x, parts, context):
    _, actnorm, _, *matrices, coupling, _ = parts
    n, h, w, c = x.shape
    x = (x.reshape(n, -1) + f64(actnorm.shift)) * np.exp(f64(actnorm.logs))
    total = f64(actnorm.logs).sum()
    halves = []
    for half, on_columns in zip(np.split(x.reshape(n, h, w, c), 2, axis=-1), matrices, strict=True):
        matrix = f64(on_columns.bijector.kernel)
        halves.append(half @ matrix)
        total = total + h * w * np.linalg.slogdet(matrix)[1]
    k = coupling.transform.components
    raw = network(halves[0], coupling.conditioner, context).reshape(n, h, w, 3 * k + 2, c // 2)
    moved, log_slope = mixture(halves[1], np.swapaxes(raw, -1, -2), k)
    return np.concatenate([halves[0], moved], axis=-1)[..., ::-1], total + log_slope.sum((1, 2, 3))


def steps(x, repeat, context=None):
    total = 0.0
    for one in repeat.copies():
        x, log_det = step(x, one.parts, context)
        total = total + log_det
    return x, total


def folded(x):
    n, h, w, c = x.shape
    return x.reshape(n, h, w // 2, 2 * c)


def log_normal(x):
    return -0.5 * (np.square(x) + np.log(2 * np.pi)).reshape(len(x), -1).sum(axis=1)


def specified_log_prob(flow, images, eps):
    """log P(x) - log q(u | x) in nats for one draw of eps."""
    dequantizer, image = flow.dequantize, images / 256 - 0.5
    context = conv(folded(image), dequantizer.embedding.first)
    for layer in dequantizer.embedding.convs:
        context = gated_conv(context, layer, None)
    logit, log_det = steps(folded(eps), dequantizer.density.parts[1], context)
    u = sigmoid(logit.reshape(images.shape))
    log_q = log_normal(eps) - log_det - np.log(u * (1 - u)).sum((1, 2, 3))
    t = (images + u) * 0.9 / 256 + 0.05
    x = np.log(t / (1 - t))
    total = (np.log(0.9 / 256) - np.log(t * (1 - t))).sum((1, 2, 3))
    _, _, first, _, _, _, second, _, third, _ = flow.bijector.parts
    x, log_det = steps(folded(x), first)
    total, x = total + log_det, x.reshape(images.shape)
    n, h, w, c = x.shape  # blocks of 2 x 2 places, whose channels stand together
    x = x.reshape(n, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 2, 4, 5).reshape(n, h // 2, w // 2, 4 * c)
    x, log_det = steps(x, second)
    total = total + log_det
    x, log_det = steps(folded(x), third)
    return log_normal(x) + total + log_det - log_q


@pytest.fixture(scope="module")
def flow():
    return zoo.flow_pp(input_shape=SHAPE, lu=False, **SMALL)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (16, *SHAPE), dtype="uint8")


def test_log_prob_is_that_of_the_formulas(flow, images, perturb):
    perturb(flow)
    eps = counted((Need("normal", math.prod(SHAPE)),), 0, 3).reshape(3, *SHAPE).astype("float64")
    expected = specified_log_prob(flow, images[:3], eps)
    np.testing.assert_allclose(flow.log_prob(images[:3]), expected, rtol=PARITY)
    assert (flow.decode(flow.encode(images)) == images).all()


def test_by_default_it_is_the_published_model():
    flow = zoo.flow_pp(input_shape=(4, 4, 1), width=4, blocks=1)
    repeats = [part for part in flow.bijector.parts if hasattr(part, "n")]
    assert [repeat.n for repeat in repeats] == [4, 2, 3]
    coupling = repeats[0].block.parts[-2]
    assert (coupling.transform.components, coupling.conditioner.dropout) == (32, 0.2)
    assert flow.dequantize.density.parts[1].n == 4
    assert flow.exact == "bound"


def test_adapting_normalises_what_a_network_answers():
    x = np.random.default_rng(0).normal(3, 5, size=(64, 4, 4, 2)).astype("float32")
    coupling = Coupling(GatedAttention(8, blocks=1, heads=2), "additive").adapt(x)
    answer = f64(coupling.conditioner(x[..., :1]))
    np.testing.assert_allclose(answer.mean(), 0.0, atol=1e-4)
    np.testing.assert_allclose(answer.std(), 0.1, rtol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (4, 6, 1)}, r"got \(4, 6, 1\), expected .* a width that is a multiple of 4"),
        ({"couplings": (4, 2)}, r"got \[4, 2\], expected three numbers"),
        ({"couplings": (1,) * 7}, "a height that is a multiple of 8 and a width that is a multiple of 16"),
        ({"width": 6, "heads": 4}, "got 6, expected a multiple of heads=4"),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        zoo.flow_pp(**{"input_shape": SHAPE, **SMALL, **arguments})


def test_the_design_for_imagenet_is_trained_and_inverted(perturb):
    """Two squeezes, no matrices, a nonlinearity more, and a dequantiser without attention that reads normed maps."""
    images = np.random.default_rng(0).integers(0, 256, (8, 4, 8, 3), dtype="uint8")
    flow = zoo.flow_pp(
        input_shape=(4, 8, 3),
        width=8,
        mixtures=2,
        blocks=1,
        heads=2,
        couplings=(0, 1, 1, 1, 1),
        dropout=0.0,
        dequantizer_blocks=1,
        dequantizer_couplings=2,
        dequantizer_heads=0,
        variant="imagenet",
        backprop="recompute",
    )
    perturb(flow.adapt(images))
    assert (flow.decode(flow.encode(images)) == images).all()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Gradients do not exist")
        flow.compile(optimizer="adam")
        flow.fit(images, batch_size=8, epochs=1, verbose=0)
    assert np.isfinite(flow.log_prob(images)).all()


@pytest.mark.parametrize("heads", [0, 2])
def test_maps_of_the_image_may_be_normed_and_attend(heads, perturb):
    """Conv, norm, attention, norm, against the formulas."""
    x = np.random.default_rng(0).normal(size=(2, 2, 4, 3))
    net = GatedConvNet(4, blocks=2, columns=2, heads=heads, normalized=True)
    net.build(x.shape)
    perturb(net)
    h, norms = conv(folded(x), net.first), iter(net.norms)
    for place, layer in enumerate(net.convs):
        h = layer_norm(gated_conv(h, layer, None), next(norms))
        if heads:
            h = attention(h, net.attentions[place], f64(net.positions), heads)
            h = layer_norm(h, next(norms))
    np.testing.assert_allclose(f64(net(x.astype("float32"))), h, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="got 4, expected a multiple of heads=3"):
        GatedConvNet(4, heads=3)


def test_a_nonlinearity_may_come_before_the_last_convolution(perturb):
    x = np.random.default_rng(0).normal(size=(2, 2, 2, 3))
    net = GatedAttention(4, blocks=1, heads=0, activated=True, features=5)
    net.build(x.shape)
    perturb(net)
    h = layer_norm(gated_conv(conv(x, net.first), net.convs[0], None), net.norms[0])
    expected = conv(concat_elu(h), net.last)
    np.testing.assert_allclose(f64(net(x.astype("float32"))), expected, rtol=1e-4, atol=1e-5)


def test_recipes_are_trained_as_published():
    recipe = read_recipe("flow_pp/cifar10")
    optimizer = build_optimizer(recipe, 782).inner_optimizer
    rate = optimizer.get_config()["learning_rate"]["config"]
    assert (rate["peak"], rate["warmup_steps"]) == (3e-4, 2000)
    assert (optimizer.ema_momentum, optimizer.global_clipnorm) == (0.999, 1.0)
    published = {
        "width": 96,
        "mixtures": 32,
        "blocks": 10,
        "couplings": [4, 2, 3],
        "dropout": 0.2,
        "lu": False,
    }
    assert {key: recipe.model[key] for key in published} == published
    assert build_optimizer(read_recipe("jet/imagenet64"), 1000).inner_optimizer.beta_2 == 0.95
