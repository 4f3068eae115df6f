"""Compare surjections with those of survae_flows: copied weights, the same inputs, survae's own noise.

    git clone https://github.com/didriknielsen/survae_flows
    KERAS_BACKEND=torch PYTHONPATH=survae_flows python benchmarks/beside_survae.py

survae_flows computes in float64, flowkit in float32. Prints the largest difference of the outputs and of the terms of
the likelihood for each layer, and exits with 1 if one exceeds 1e-4 of its size.
"""

import math

import flowkit  # before Keras, which takes its engine when it is imported

# isort: split
import numpy as np
import survae.transforms as survae
import torch
from keras import ops
from survae.distributions import ConditionalNormal, Distribution
from survae.flows import ConditionalInverseFlow
from survae.transforms.bijections.functional.mixtures import logistic_mixture_transform

from flowkit.bijectors import Inverse, Pointwise
from flowkit.conditioners import MLP
from flowkit.data import VariationalDequantize
from flowkit.surjections import Absolute, Augment, MaxPool, Slice, Sort, StochasticPermute
from flowkit.testing import randomize
from flowkit.transforms import Gaussian, MixtureOfLogistics

RNG = np.random.default_rng(0)
TOLERANCE = 1e-4


class Exponential(Distribution):
    """The density of distances that `MaxPool` has, as a decoder of survae's: three channels for each of the image."""

    def __init__(self, log_rate):
        super().__init__()
        self.log_rate = torch.as_tensor(np.repeat(log_rate, 3)).double()[:, None, None]

    def log_prob(self, distances):
        return (self.log_rate - self.log_rate.exp() * distances).flatten(1).sum(1)


def normals(*shape):
    return RNG.normal(size=shape).astype("float32")


def wide(array):
    return torch.as_tensor(np.asarray(array)).double()


def numbers(tensor):
    return np.asarray(ops.convert_to_numpy(tensor), "float64")


def density():
    """Return q(. | given), a normal distribution whose mean and deviation a network reads."""
    return Pointwise(Gaussian(), MLP([8]))


def copied(mlp):
    """Return the network of a density as survae's conditional distribution."""
    first, first_bias, last, last_bias = (wide(numbers(weight)) for weight in mlp.weights)
    return ConditionalNormal(lambda x: (x @ first + first_bias).relu() @ last + last_bias)


def channels_first(x):
    return wide(x).permute(0, 3, 1, 2)


def absolute():
    x = normals(5, 3)
    return Absolute()(x), survae.SimpleAbsSurjection()(wide(x))


def sort():
    """survae's values are sorted; ours are the logarithms of their gaps, with the terms of that map."""
    x = normals(5, 3)
    ordered, term = survae.SimpleSortSurjection()(wide(x))
    log_gaps = ordered.diff(dim=1).log()
    return Sort()(x), (torch.cat([ordered[:, :1], log_gaps], dim=1), term - log_gaps.sum(1))


def max_pool():
    x, layer = normals(3, 4, 6, 2), MaxPool()
    layer.build(x.shape)
    randomize(layer)
    theirs = survae.SimpleMaxPoolSurjection2d(Exponential(numbers(layer.log_rate)))
    z, term = theirs(channels_first(x))
    return layer(x), (z.permute(0, 2, 3, 1), term)


def take():
    x, layer = normals(5, 4), Slice(2, density())
    layer.build(x.shape)
    randomize(layer)
    return layer(x), survae.Slice(copied(layer.density.conditioner), 2)(wide(x))


def augment():
    x, layer = normals(5, 3), Augment(2, density())
    layer.build(x.shape)
    randomize(layer)
    encoder = copied(layer.density.conditioner)
    z, term = survae.Augment(encoder, 3)(wide(x))
    mean, deviation = encoder.mean_stddev(wide(x))
    eps = (z[:, 3:] - mean) / deviation
    return layer(x, noise=eps.float().numpy()), (z, term)


def permute():
    """Both draw an order of their own, so the entries are compared in order."""
    x = normals(5, 3)
    z, term = StochasticPermute()(x, noise=RNG.uniform(size=(5, 3)).astype("float32"))
    theirs, their_term = survae.StochasticPermutation()(wide(x))
    return (np.sort(numbers(z)), ops.zeros(5) + term), (theirs.sort(dim=1)[0], their_term)


def dequantize():
    x, layer = RNG.integers(0, 256, (5, 3)).astype("float32"), VariationalDequantize(Inverse(density()))
    layer.build(x.shape)
    randomize(layer)
    normal = copied(layer.density.bijector.conditioner)
    encoder = ConditionalInverseFlow(normal, survae.Sigmoid(), context_init=lambda x: x.double() / 256 - 0.5)
    y, term = survae.VariationalDequantization(encoder)(wide(x))
    u = y * 256 - wide(x)
    mean, deviation = normal.mean_stddev(wide(x) / 256 - 0.5)
    eps = (u.logit() - mean) / deviation
    z, log_det = layer(x, noise=eps.float().numpy())
    return (z, log_det), (y - 0.5, term)


def mixture():
    """The mixture of logistics and the logit that follow one another in survae's couplings."""
    x, layer = normals(5, 3), MixtureOfLogistics(4)
    raw = ops.convert_to_tensor(0.5 * normals(5, layer.parameters, 3))
    prepared = layer.prepare(raw)
    log_weights, means, log_scales = (wide(numbers(part)).transpose(1, 2) for part in prepared[:3])
    log_scale, shift = (wide(numbers(part)) for part in prepared[3:])
    u, log_slope = logistic_mixture_transform(wide(x), log_weights, means, log_scales)
    y = u.logit() * log_scale.exp() + shift
    log_slope = log_slope - u.log() - (1 - u).log() + log_scale
    ours, our_slope = layer.forward(ops.convert_to_tensor(x), *prepared)
    return (ours, ops.sum(our_slope, axis=1)), (y, log_slope.sum(1))


LAYERS = {
    "Absolute": absolute,
    "Sort": sort,
    "MaxPool": max_pool,
    "Slice": take,
    "Augment": augment,
    "StochasticPermute": permute,
    "VariationalDequantize": dequantize,
    "MixtureOfLogistics": mixture,
}


def main():
    torch.manual_seed(0)
    print(f"flowkit {flowkit.__version__}\n\n| layer | outputs differ by | terms differ by |\n|---|---|---|")
    worst = 0.0
    for name, compare in LAYERS.items():
        pairs = zip(*compare(), strict=True)
        apart = [relative(numbers(ours), theirs.detach().numpy()) for ours, theirs in pairs]
        worst = max(worst, *apart)
        print(f"| `{name}` | {' | '.join(f'{one:.0e}' for one in apart)} |")
    return int(not math.isfinite(worst) or worst > TOLERANCE)


def relative(ours, theirs):
    """Return the largest difference, in units of max(1, |theirs|)."""
    assert ours.shape == theirs.shape, f"{ours.shape}, {theirs.shape}"
    return float((np.abs(ours - theirs) / np.maximum(1, np.abs(theirs))).max())


if __name__ == "__main__":
    raise SystemExit(main())
