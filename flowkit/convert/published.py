"""Glow's published code: which weight has which name there, and deviations of other implementations as its weights.

Kernels come as torch keeps them, (out, in, h, w), and leave as (h, w, in, out). The published ones of
3x3 have one more input channel, the edge, which is 1 on the ring that pads the image:

- zeros around the image, and no edge: the edge's kernel is 0;
- every channel padded with ones: the edge's kernel is the sum of the kernel over its input channels.
"""

import contextlib

import numpy as np

from flowkit.bijectors import ActNorm, Chain, Conv1x1, Coupling, MultiScale, Permute, Repeat, Squeeze
from flowkit.conditioners import ConvNet, ScaledConv, TopPrior
from flowkit.distributions import Normal
from flowkit.transforms import Additive, Affine

_STEPS = {(ActNorm, Conv1x1, Coupling), (ActNorm, Permute, Coupling)}


@contextlib.contextmanager
def separate_steps(scales):
    """Yield for each scale its steps (actnorm, permutation, coupling) as separate layers.

    The weights that are assigned to them are those of the scales when the scope ends.
    """
    repeats = [part for scale in scales for part in scale.parts if isinstance(part, Repeat)]
    copies = {id(repeat): repeat.copies() for repeat in repeats}
    yield [_triples(scale, lambda repeat: copies[id(repeat)]) for scale in scales]
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


def _triples(scale, copies_of):
    """Return the (actnorm, permutation, coupling) of a scale: what follows its squeeze."""
    parts = []
    for part in scale.parts[1:]:
        blocks = copies_of(part) if isinstance(part, Repeat) else [part]
        for block in blocks:
            parts += block.parts if isinstance(block, Chain) else [block]
    return [tuple(parts[i : i + 3]) for i in range(0, len(parts), 3)]


def _count(scale):
    """The number of steps of a scale."""
    return len(_triples(scale, lambda repeat: [repeat.block] * repeat.n))


def _actnorm(name, shift, logs):
    yield f"{name}/actnorm_center/b", shift, (1, 1, 1, *shift.shape)
    yield f"{name}/actnorm_scale/logs", logs, (1, 1, 1, *logs.shape)


def _zeros(name, conv):
    yield f"{name}/W", conv.kernel, tuple(conv.kernel.shape)
    yield f"{name}/b", conv.bias, (1, 1, 1, *conv.bias.shape)
    yield f"{name}/logs", conv.logs, (1, *conv.logs.shape)


def check_published(flow):
    """Raise ValueError, with what differs, for a flow that the published code cannot express."""
    found = next(_differences(flow), None)
    if found is not None:
        raise ValueError(
            f"to_openai expects a Glow that the published code can express, received one with {found}"
        )


def _differences(flow):
    bijector = flow.bijector
    if type(flow.base) is not Normal:
        yield f"the base density {type(flow.base).__name__}"
    if type(bijector) is not MultiScale:
        yield f"a {type(bijector).__name__} in place of a MultiScale"
        return
    if bijector.min_scale:
        yield f"min_scale = {bijector.min_scale:g}, a bound that the published code has not"
    if bijector.prior_layout != "interleaved" or not all(map(_published_conv, bijector.priors)):
        yield "priors of the split latents other than ScaledConv(zeros=True) with interleaved answers"
    top = bijector.top_prior
    if top is not None and not (type(top) is TopPrior and top.edge_bias):
        yield f"the top prior {type(top).__name__} in place of a TopPrior with edge_bias"
    kinds = set()
    for level, scale in enumerate(bijector.scales):
        where = f"scale {level + 1}"
        if type(scale) is not Chain or not scale.parts or not _is_squeeze(scale.parts[0]):
            yield f"a {where} that is no Chain of a Squeeze and steps"
            return
        for triple in _triples(scale, lambda repeat: [repeat.block]):
            if tuple(map(type, triple)) not in _STEPS:
                yield f"a {where} that is not made of steps of ActNorm, Conv1x1 or Permute, and Coupling"
                return
            kinds.add(_kind(*triple))
    if any(None in kind for kind in kinds):
        yield "a coupling, network or factor that is not the published one"
    elif len(kinds) > 1 or len(set(map(_count, bijector.scales))) > 1:
        yield "steps that are not alike at every scale"
    elif not all(scale.built for scale in bijector.scales):
        yield "no weights yet: adapt or fit it first"
    elif not bijector.adapted:
        yield "actnorms that have seen no data: adapt or fit it first"


def _is_squeeze(part):
    return type(part) is Squeeze and part.factor == 2


def _kind(actnorm, mix, coupling):
    """Return what must be the same at every step; None marks what the published code does not have."""
    net = coupling.conditioner
    published = (
        actnorm.factor == 3
        and isinstance(coupling.split, str)
        and (coupling.split, coupling.swap, coupling.layout) == ("channels", False, "interleaved")
        and coupling.transform in (Affine(), Additive())
        and type(net) is ConvNet
        and net.edge_bias
        and net.context == "none"
    )
    if not published:
        return (None,)
    permutation = "conv1x1" if type(mix) is Conv1x1 else "reverse" if mix.order == "reverse" else "shuffle"
    return permutation, type(coupling.transform), net.width


def _published_conv(conv):
    if type(conv) is not ScaledConv:
        return False
    return (conv.zeros, conv.kernel_size, conv.edge_bias, conv.factor) == (True, 3, True, 3)


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
