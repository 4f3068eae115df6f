"""Draws of a flow that carry gradients."""

import keras
from keras import ops, tree

from flowkit.contract.arguments import whole_number
from flowkit.contract.noise import drawn, given
from flowkit.contract.shapes import as_tuple
from flowkit.flow.context import context_kind


def draw(flow, n, context=None, seed=None):
    """`Flow.draw`: x = f^-1(z) for draws z of the base, and log q(x), as tensors."""
    if flow.dequantize is not None or flow.bijector.spec.domain.kind == "whole":
        raise ValueError(
            "draw expects a flow of continuous data, received one with dequantize: whole values carry no gradients. "
            "Use sample_and_log_prob."
        )
    flow._event()  # raises if it is not built
    if not ops.is_tensor(n):  # TensorFlow's steps do not know the size of a batch beforehand
        n = whole_number(n, "n", least=1)
    rows, lead = n, (n,)
    context = None if context_kind(flow) == "none" else context
    if context is not None:
        context = flow.embed(tree.map_structure(ops.convert_to_tensor, context))
        each = ops.shape(tree.flatten(context)[0])[0]
        rows, lead = n * each, (n, each)
        context = tree.map_structure(lambda c: _repeated(c, n), context)
    x, log_q = drawn_with_score(flow, rows, context, seed)
    return (
        (x, log_q) if context is None else (ops.reshape(x, (*lead, *x.shape[1:])), ops.reshape(log_q, lead))
    )


def drawn_with_score(flow, rows, seen, seed=None):
    """(x, log q(x)) for as many rows, given what the parts of the flow see of the context."""
    seed = _Following(seed) if isinstance(seed, int) else seed
    seed = flow.sampler if seed is None else seed
    event = (None, *flow._event())
    latent = as_tuple(flow.bijector.compute_output_shape(event))[1:]
    z = flow.base.sample((rows, *latent), seed=seed, context=seen)
    noise = drawn(flow.bijector.noise_needs(event, inverse=True), rows, flow.compute_dtype, seed)
    return flow._invert_and_score(z, seen, **given(noise))


class _Following(keras.random.SeedGenerator):
    """The seeds that follow from a whole number, as from Keras's own, without the variable that it makes.

    TensorFlow makes no variables in the traced steps in which draws are asked for.
    """

    def __init__(self, number):
        self._number, self._given = number, 0

    def next(self, ordered=True):
        self._given += 1
        return ops.convert_to_tensor([self._number, self._given - 1], dtype="uint32")


def _repeated(rows, n):
    return rows if isinstance(n, int) and n == 1 else ops.tile(rows, (n, *(1,) * (len(rows.shape) - 1)))
