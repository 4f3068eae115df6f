"""Glow's published code: which weight has which name there, and deviations of other implementations as its weights.

Kernels come as torch keeps them, (out, in, h, w), and leave as (h, w, in, out). The published ones of
3x3 have one more input channel, the edge, which is 1 on the ring that pads the image:

- zeros around the image, and no edge: the edge's kernel is 0;
- every channel padded with ones: the edge's kernel is the sum of the kernel over its input channels.
"""

import contextlib

import numpy as np

from flowkit.bijectors import ActNorm, Chain, Conv1x1, Coupling, MultiScale, Permute, Repeat
from flowkit.conditioners import ConvNet, ScaledConv, TopPrior

_STEPS = {(ActNorm, Conv1x1, Coupling), (ActNorm, Permute, Coupling)}


@contextlib.contextmanager
def separate_steps(scales):
    """Yield for each scale its steps (actnorm, permutation, coupling) as separate layers.

    The weights that are assigned to them are those of the scales when the scope ends.
    """
    repeats = [part for scale in scales for part in scale.parts if isinstance(part, Repeat)]
    copies = {id(repeat): repeat.copies() for repeat in repeats}
    yield [_steps_of(scale, copies) for scale in scales]
    for repeat in repeats:
        repeat.assign(copies[id(repeat)])


def slots(bijector, steps):
    """Yield (published name, what holds the weight, published shape) for each weight of a Glow's `MultiScale`.

    `steps` are those of `separate_steps`. The holder is a variable, or a `Conv1x1`, whose matrix may be factored; both
    have `assign`.
    """
    yield from step_slots(steps)
    for level, prior in enumerate(bijector.priors):
        yield from _zeros(f"model/pool{level}/conv", prior)
    top = bijector.top_prior
    if top is not None and top.learn:
        yield from _zeros("model/prior/p", top.conv)
    if top is not None and top.num_classes is not None:
        table = top.embedding
        yield "model/prior/y_emb/W", table.W, tuple(table.W.shape)
        for name in ("b", "logs"):
            weight = getattr(table, name)
            yield f"model/prior/y_emb/{name}", weight, (1, *weight.shape)


def step_slots(steps):
    """Yield the `slots` of the steps alone."""
    for level, triples in enumerate(steps):
        for index, (actnorm, mix, coupling) in enumerate(triples):
            name, net, c = f"model/{level}/{index}", coupling.conditioner, actnorm.shift.shape[0]
            yield from _actnorm(name, actnorm.shift, actnorm.logs)
            if isinstance(mix, Conv1x1):
                yield f"{name}/invconv/W", mix, (c, c)
            elif mix.order != "reverse":
                yield f"{name}/shuffle/indices", mix.indices, (c,)
                yield f"{name}/shuffle/indices_inverse", mix.back, (c,)
            for layer, conv in (("l_1", net.first), ("l_2", net.second)):
                yield f"{name}/f1/{layer}/W", conv.kernel, tuple(conv.kernel.shape)
                yield from _actnorm(f"{name}/f1/{layer}", conv.bias, conv.logs)
            yield from _zeros(f"{name}/f1/l_last", net.last)


def _steps_of(scale, copies=None):
    """Return the (actnorm, permutation, coupling) of a scale: what follows its squeeze; with the copies of a Repeat."""
    parts = []
    for part in scale.parts[1:]:
        blocks = [part]
        if isinstance(part, Repeat):
            blocks = [part.block] if copies is None else copies[id(part)]
        for block in blocks:
            parts += block.parts if isinstance(block, Chain) else [block]
    return [tuple(parts[i : i + 3]) for i in range(0, len(parts), 3)]


def _actnorm(name, shift, logs):
    yield f"{name}/actnorm_center/b", shift, (1, 1, 1, *shift.shape)
    yield f"{name}/actnorm_scale/logs", logs, (1, 1, 1, *logs.shape)


def _zeros(name, conv):
    yield f"{name}/W", conv.kernel, tuple(conv.kernel.shape)
    yield f"{name}/b", conv.bias, (1, 1, 1, *conv.bias.shape)
    yield f"{name}/logs", conv.logs, (1, *conv.logs.shape)


def check_published(bijector):
    """Raise ValueError for a bijector that is not made of the published code's layers, or has no weights yet."""
    published = (
        type(bijector) is MultiScale
        and all(type(prior) is ScaledConv for prior in bijector.priors)
        and type(bijector.top_prior) in (TopPrior, type(None))
        and all(type(scale) is Chain and all(map(_is_step, _steps_of(scale))) for scale in bijector.scales)
    )
    if not published:
        raise ValueError("to_openai expects a Glow as flowkit.zoo.glow makes it, received other layers")
    if not all(scale.built for scale in bijector.scales) or not bijector.adapted:
        raise ValueError("to_openai expects a Glow that has seen data: adapt or fit it first")


def _is_step(triple):
    return tuple(map(type, triple)) in _STEPS and type(triple[-1].conditioner) is ConvNet


def kernel(weight):
    """Return (out, in, h, w) as (h, w, in, out), in float64, in which all folding is done."""
    return np.transpose(np.asarray(weight, "float64"), (2, 3, 1, 0))


def zero_padded(kernel):
    """Return the published kernel of a convolution that pads with zeros."""
    return np.concatenate([kernel, np.zeros_like(kernel[:, :, :1])], axis=2)


def one_padded(kernel):
    """Return the published kernel of a convolution that pads every channel with ones."""
    return np.concatenate([kernel, kernel.sum(axis=2, keepdims=True)], axis=2)


def interleaving(first, second):
    """Return the order of channels that interleaves two blocks of them: first[0], second[0], first[1], ..."""
    return np.stack([first, second], axis=1).ravel()


def conv(name, kernel, bias, logs=None):
    """Return the published variables of a convolution followed by an actnorm: (conv + bias) exp(3 logs)."""
    logs = np.zeros(kernel.shape[-1]) if logs is None else logs
    return {
        f"{name}/W": kernel,
        f"{name}/actnorm_center/b": bias.reshape(1, 1, 1, -1),
        f"{name}/actnorm_scale/logs": logs.reshape(1, 1, 1, -1),
    }


def conv_zeros(name, kernel, bias, logs=None):
    """Return the published variables of the convolution that starts at zero: (conv + bias) exp(3 logs)."""
    logs = np.zeros(kernel.shape[-1]) if logs is None else logs
    return {
        f"{name}/W": kernel,
        f"{name}/b": bias.reshape(1, 1, 1, -1),
        f"{name}/logs": logs.reshape(1, -1),
    }


def plu_matrix(p, lower, upper, sign, log_s):
    """Return P (L + I) (U + diag(sign exp(log_s))), whatever L and U hold on the other side."""
    p, lower, upper = (np.asarray(part, "float64") for part in (p, lower, upper))
    diagonal = np.diag(np.asarray(sign, "float64") * np.exp(np.asarray(log_s, "float64")))
    return p @ (np.tril(lower, -1) + np.eye(len(p))) @ (np.triu(upper, 1) + diagonal)
