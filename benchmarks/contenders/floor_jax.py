"""The floor on JAX: the flow's networks alone, under jit, at the shapes that the flow gives them.

As on torch: gradients of the weights and of the fixed inputs, "evaluation" and "sampling" are the forward pass, and a
MAF's networks have no masks.
A 1x1 convolution is a matrix product. In the forward pass the networks run one after another, as in a flow: left alone
on two cores, XLA ran several at once, which took a third longer. In the training step that was no slower, and is left
to XLA. So in both the floor is the faster of the two.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from contenders.on_jax import OnJax
from measuring.work import network_inputs, perceptron

PACKAGE = "jax"


def images(work, x):
    width, weights, inputs = work["width"], [], []
    for shape in network_inputs(work):
        channels = shape[-1]
        inputs.append(normal(work["batch"], *shape))
        sizes = [(3, 3, channels, width), (width, width), (3, 3, width, 2 * channels)]
        weights.append([layers(sizes) for _ in range(work["steps"])])

    def apply(kernel, x):
        if kernel.ndim == 2:
            return x @ kernel
        dimensions = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=dimensions)

    return bare(weights, inputs, apply, work)


def vectors(work, x):
    sizes = perceptron(work)
    weights = [[layers(itertools.pairwise(sizes)) for _ in range(work["layers"])]]
    return bare(weights, [normal(work["batch"], sizes[0])], lambda kernel, x: x @ kernel, work)


splines = maf = vectors


def bare(weights, inputs, apply, work):
    compute = jnp.bfloat16 if work["precision"] == "bfloat16" else jnp.float32

    def network(layers, x):
        (k1, b1), (k2, b2), (k3, b3) = layers
        h = jax.nn.relu(apply(k1, x) + b1)
        return apply(k3, jax.nn.relu(apply(k2, h) + b2)) + b3

    def cast(*trees):
        return jax.tree.map(lambda a: a.astype(compute), trees)

    def loss(weights, inputs):
        weights, inputs = cast(weights, inputs)
        answers = [network(net, x) for nets, x in zip(weights, inputs, strict=True) for net in nets]
        return sum(jnp.mean(jnp.square(answer.astype("float32"))) for answer in answers)

    def forward(weights, inputs):
        weights, inputs = cast(weights, inputs)
        answers, last = [], jnp.zeros((), compute)
        for nets, x in zip(weights, inputs, strict=True):
            for net in nets:
                answers.append(network(net, x + last))
                last = 1e-30 * answers[-1].ravel()[0]  # what the next one waits for
        return answers

    return Floor(work, weights, inputs, loss, forward, None, gradient_of_x=True)


class Floor(OnJax):
    def draw(self, count):
        """Asked for so many samples, the networks read as many rows."""
        return self.log_prob_of(self.weights, self.rows(count))


def layers(sizes):
    """(kernel, bias) for each size."""
    return [(0.05 * normal(*size), jnp.asarray(np.zeros(size[-1], "float32"))) for size in sizes]


def normal(*shape):
    """By numpy: JAX would compile for each shape, and the first step is timed."""
    return jnp.asarray(np.random.default_rng(0).normal(size=shape).astype("float32"))
