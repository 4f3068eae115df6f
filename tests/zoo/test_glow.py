"""Glow against the specification, evaluated in float64 numpy without shared code, and the published shapes."""

import itertools
import math

import numpy as np
import pytest
from arrays import f64
from tolerance import PARITY

from flowkit import zoo
from flowkit.contract.noise import Need
from flowkit.flow.rows import counted
from flowkit.transforms import Affine

SHAPE = (8, 8, 2)


# The specification: NHWC, kernels HWIO


def squeeze(x):
    """New channel = c 4 + i 2 + j."""
    n, h, w_, c = x.shape
    z = np.zeros((n, h // 2, w_ // 2, 4 * c))
    for i, j in itertools.product(range(2), range(2)):
        z[..., i * 2 + j :: 4] = x[:, i::2, j::2]
    return z


def conv(x, kernel):
    """Zero-padded, a ring channel appended, VALID."""
    p = kernel.shape[0] // 2
    n, h, w_, _ = x.shape
    padded = np.zeros((n, h + 2 * p, w_ + 2 * p, kernel.shape[2]))
    padded[..., -1] = 1
    padded[:, p : p + h, p : p + w_, -1] = 0
    padded[:, p : p + h, p : p + w_, :-1] = x
    taps = itertools.product(range(kernel.shape[0]), range(kernel.shape[1]))
    return sum(padded[:, i : i + h, j : j + w_] @ kernel[i, j] for i, j in taps)


def conv_zeros(x, layer):
    return (conv(x, f64(layer.kernel)) + f64(layer.bias)) * np.exp(3 * f64(layer.logs))


def network(x, net, labels):
    h = (conv(x, f64(net.first.kernel)) + f64(net.first.bias)) * np.exp(3 * f64(net.first.logs))
    if net.context != "none":
        h = h + f64(net.bias.kernel)[labels][:, None, None]
    h = np.maximum(h, 0)
    h = (h @ f64(net.second.kernel)[0, 0] + f64(net.second.bias)) * np.exp(3 * f64(net.second.logs))
    return conv_zeros(np.maximum(h, 0), net.last)


def mix(x, part, permutation):
    """(output, log-det) of the permutation."""
    places = x.shape[1] * x.shape[2]
    if permutation == "reverse":
        return x[..., ::-1], 0
    if permutation == "shuffle":
        return x[..., f64(part.indices).astype(int)], 0
    if permutation == "plain":
        matrix = f64(part.kernel)
        return x @ matrix, places * np.linalg.slogdet(matrix)[1]
    c = x.shape[-1]
    lower = np.tril(f64(part.lower), -1) + np.eye(c)
    upper = np.triu(f64(part.upper), 1) + np.diag(f64(part.sign) * np.exp(f64(part.log_s)))
    return x @ f64(part.permutation) @ lower @ upper, places * f64(part.log_s).sum()


def of_class(e, labels):
    return ((f64(e.kernel)[labels] + f64(e.bias)) * np.exp(3 * f64(e.logs)))[:, None, None]


def step(x, labels, actnorm, permute, coupling, kind, permutation):
    places = x.shape[1] * x.shape[2]
    x = (x + f64(actnorm.shift)) * np.exp(3 * f64(actnorm.logs))
    total = places * 3 * f64(actnorm.logs).sum()
    x, log_det = mix(x, permute, permutation)
    total += log_det
    one, two = np.split(x, 2, axis=-1)
    h = network(one, coupling.conditioner, labels)
    if kind == "additive":
        return np.concatenate([one, two + h], -1), total
    shift, scale = h[..., 0::2], 1 / (1 + np.exp(-(h[..., 1::2] + 2)))
    return np.concatenate([one, (two + shift) * scale], -1), total + np.log(scale).sum((1, 2, 3))


def gaussian(x, mean, logs):
    return (-0.5 * (np.log(2 * np.pi) + 2 * logs + (x - mean) ** 2 / np.exp(2 * logs))).sum((1, 2, 3))


def specified_log_prob(flow, images, labels, kind, permutation, noise):
    """log p of images in nats by the published formulas, without a call into flowkit."""
    model = flow.bijector
    x = images / 256 - 0.5 + noise.astype("float64") / 256
    total = -math.log(256) * math.prod(images.shape[1:])
    for level, scale in enumerate(model.scales):
        x = squeeze(x)
        _, steps = scale.parts
        for one in steps.copies():
            x, log_det = step(x, labels, *one.parts, kind, permutation)
            total = total + log_det
        if level < len(model.scales) - 1:
            x, out = np.split(x, 2, axis=-1)
            prior = model.priors[level]
            h = conv_zeros(x, prior)
            if hasattr(prior, "embedding"):
                h = h + of_class(prior.embedding, labels)
            total = total + gaussian(out, h[..., 0::2], h[..., 1::2])
    n, height, width, c = x.shape
    h = np.zeros((n, height, width, 2 * c))
    if model.top_prior is not None:
        if model.top_prior.learn:
            h = conv_zeros(h, model.top_prior.conv)
        if labels is not None:
            h = h + of_class(model.top_prior.embedding, labels)
    return total + gaussian(x, h[..., :c], h[..., c:])


@pytest.mark.wide("permutation")
@pytest.mark.parametrize(
    ("coupling", "permutation", "options"),
    [
        ("affine", "conv1x1", {}),
        ("affine", "plain", {"num_classes": 3}),
        ("affine", "shuffle", {"num_classes": 3, "class_conditioning": "all_levels"}),
        ("affine", "reverse", {"learn_top": False}),
        ("additive", "conv1x1", {"num_classes": 3, "class_conditioning": "all_levels"}),
        ("additive", "plain", {}),
        ("additive", "reverse", {"num_classes": 3, "learn_top": False}),
    ],
)
def test_log_prob_is_that_of_the_specification(coupling, permutation, options, perturb):
    flow = zoo.glow(
        levels=2,
        steps=2 if coupling == "affine" else 1,
        width=8,
        coupling=coupling,
        permutation="conv1x1" if permutation == "plain" else permutation,
        lu=permutation != "plain",
        input_shape=SHAPE,
        **options,
    )
    perturb(flow)
    images = np.random.default_rng(0).integers(0, 256, (3, *SHAPE), dtype="uint8")
    labels = np.array([2, 0, 1]) if "num_classes" in options else None
    noise = counted((Need("uniform", math.prod(SHAPE)),), 0, 3).reshape(3, *SHAPE)  # that of `log_prob`
    expected = specified_log_prob(flow, images, labels, coupling, permutation, noise)
    np.testing.assert_allclose(flow.log_prob(images, context=labels), expected, rtol=PARITY)


# Sizes


def test_latents_have_the_published_shapes():
    """CelebA-HQ: 128^2 x 6, 64^2 x 12, 32^2 x 24, 16^2 x 48, 8^2 x 96, 4^2 x 384."""
    flow = zoo.glow(levels=6, steps=1, width=2, input_shape=(256, 256, 3))
    sides = [(128, 6), (64, 12), (32, 24), (16, 48), (8, 96), (4, 384)]
    assert flow.bijector.latent_events == [(side, side, c) for side, c in sides]


def test_by_default_it_is_the_published_model():
    flow = zoo.glow(levels=3)
    scales = flow.bijector.scales
    assert [scale.parts[1].n for scale in scales] == [32] * 3
    squeeze, steps = scales[0].parts
    kinds = [type(part).__name__ for part in (squeeze, *steps.block.parts)]
    assert kinds == ["Squeeze", "ActNorm", "Conv1x1", "Coupling"]
    coupling = steps.block.parts[-1]
    assert (coupling.transform, coupling.conditioner.width) == (Affine(), 512)
    assert flow.bijector.top_prior.learn
    assert flow.dequantize.levels == 256


# Its options, and what it refuses


@pytest.mark.parametrize(
    ("permutation", "kinds"), [("emerging", ["Conv1x1", "EmergingConv"]), ("periodic", ["PeriodicConv"])]
)
def test_larger_kernels_in_place_of_1x1_ones(permutation, kinds, perturb):
    flow = zoo.glow(levels=2, steps=2, width=8, permutation=permutation, min_scale=0.1, input_shape=SHAPE)
    steps = flow.bijector.scales[0].parts[1]
    assert [type(part).__name__ for part in steps.block.parts] == ["ActNorm", *kinds, "Coupling"]
    perturb(flow, scale=0.02)
    images = np.random.default_rng(0).integers(0, 256, (3, *SHAPE), dtype="uint8")
    assert (flow.decode(flow.encode(images)) == images).all()
