"""Weights in the names and shapes of Glow's published code (Kingma & Dhariwal, 2018).

Deviations of other implementations become its weights. Kernels come as torch keeps them, (out, in, h, w), and leave as
(h, w, in, out). The published ones of 3x3 have one more input channel, the edge, which is 1 on the ring that pads the
image:

- zeros around the image, and no edge: the edge's kernel is 0;
- every channel padded with ones: the edge's kernel is the sum of the kernel over its input channels.
"""

import contextlib
import re
from collections.abc import Sequence

import numpy as np
from keras import ops

from flowkit.bijectors import ActNorm, Chain, Conv1x1, Coupling, MultiScale, Permute, Repeat
from flowkit.conditioners import ConvNet, ScaledConv, TopPrior
from flowkit.contract import Tensor
from flowkit.contract.adaptation import mark_adapted
from flowkit.convert.weights import Weights, arrays_of, check_log_prob
from flowkit.flow.flow import Flow
from flowkit.zoo import glow

# A checkpoint also keeps the optimizer's slots (`Variable_7`) and running averages, which are no part of
# the model, and a classifier that is trained beside it and no part of the density.
_IGNORED = re.compile(r"(?!model/)|.*/ExponentialMovingAverage(/|$)|model/classifier/")
_STEP = re.compile(r"model/(\d+)/(\d+)/(.+)")


def from_openai(
    variables: Tensor,
    *,
    n_bits: int | None = 8,
    input_shape: Sequence[int] | None = None,
    check: str | bool | None = None,
) -> Flow:
    """Return a `Flow` with the weights of a checkpoint of Glow's published code: the same latents and densities.

    - `variables`: names (`model/0/0/actnorm_center/b`, ...) to arrays, as in `read_variables` or `np.load`.
      Levels, steps, width, image channels, coupling, permutation, the learned top prior and classes
      follow from names and shapes. Left aside are the optimizer's variables, running averages
      (`.../ExponentialMovingAverage`) and the classifier, `model/classifier/*`.
    - `n_bits`: of the images that the model was trained on, which the variables do not tell; None
      gives the model on inputs that are dequantised already, in [-0.5, 0.5].
    - `input_shape`: (height, width, channels). Weights belong to channels, so the size may stay open
      until the first data.
    - `check`: {"rows": ..., "log_prob": ...} of the original, or an .npz file of these, to compare with. Rows are
      channels last, in [-0.5, 0.5]. ValueError with the largest difference.

    Raises ValueError that names what is missing, mis-shaped or too much, with the expected shape.

    >>> from flowkit.zoo import glow
    >>> import numpy as np
    >>> images = np.random.default_rng(0).integers(0, 256, (16, 8, 8, 1), dtype="uint8")
    >>> flow = glow(levels=2, steps=1, width=8).adapt(images)
    >>> ported = from_openai(to_openai(flow))
    >>> bool(np.allclose(ported.log_prob(images), flow.log_prob(images), rtol=1e-4))
    True
    """
    arrays = {name: array for name, array in arrays_of(variables).items() if not _IGNORED.match(name)}
    return check_log_prob(
        make(infer(arrays), arrays, n_bits=n_bits, input_shape=input_shape, lu=False), check
    )


def to_openai(flow: Flow) -> dict[str, np.ndarray]:
    """Return the weights of a Glow under the published names, numpy arrays: the inverse of `from_openai`.

    A PLU convolution is written as its product W. The number of bits and the size of the images are
    not part of the variables. Raises ValueError for a flow that the published code cannot express, or
    that has seen no data.

    >>> from flowkit.zoo import glow
    >>> flow = glow(levels=1, steps=1, width=8).adapt(np.arange(192, dtype="uint8").reshape(4, 4, 4, 3))
    >>> variables = to_openai(flow)
    >>> variables["model/0/0/invconv/W"].shape, variables["model/0/0/f1/l_1/W"].shape
    ((12, 12), (3, 3, 7, 8))
    """
    check_published(flow.bijector)
    with separate_steps(flow.bijector.scales) as steps:
        variables = {  # copies: on torch the arrays would be the weights themselves
            name: np.array(ops.convert_to_numpy(_value(target))).reshape(shape)
            for name, target, shape in slots(flow.bijector, steps)
        }
    if flow.event_shape is not None:  # one of no size is a port, which has seen no data
        _check_densities(flow, variables)
    return variables


def _check_densities(flow, variables):
    """Raise ValueError unless a port of the variables has the densities of the flow."""
    rows = np.random.default_rng(0).uniform(-0.5, 0.5, (2, *flow.event_shape)).astype("float32")
    context = {} if flow.bijector.num_classes is None else {"context": np.zeros(2, "int32")}
    expected = Flow(flow.bijector, base=flow.base).log_prob(rows, context.get("context"))
    try:
        from_openai(variables, n_bits=None, check={"rows": rows, "log_prob": expected, **context})
    except ValueError as error:
        raise ValueError(f"to_openai: got a Glow that the published code cannot express. {error}") from None


def make(options, arrays, *, n_bits, input_shape, lu):
    """Return a Glow of these options (those of `glow`, and `channels`) with weights under the published names."""
    options = dict(options)
    channels = options.pop("channels")
    flow = glow(**options, n_bits=n_bits, input_shape=input_shape, lu=lu)
    if input_shape is None:
        side = 2 ** options["levels"]
        labels = None if options["num_classes"] is None else (None,)
        flow.bijector.build_parts((None, side, side, channels), labels)
    with separate_steps(flow.bijector.scales) as steps:
        fill(slots(flow.bijector, steps), arrays)
    mark_adapted(flow.bijector)
    return flow


def fill(targets, arrays):
    """Set the weights of `targets`, as `slots` gives them, from arrays under the published names."""
    weights = Weights(arrays)
    for name, target, shape in targets:
        array = weights.take(name, shape)
        _check_invertible(name, array, arrays)
        # A copy: JAX may keep the very memory that is passed.
        target.assign(np.array(array).reshape(shape if isinstance(target, Conv1x1) else target.shape))
    weights.refuse_rest()


def _check_invertible(name, array, arrays):
    if name.endswith("/invconv/W") and not np.isfinite(np.linalg.slogdet(array.astype("float64"))[1]):
        raise ValueError(f"{name}: got a singular matrix, expected an invertible one.")
    if name.endswith("/shuffle/indices"):
        order, back = np.arange(len(array)), arrays.get(f"{name}_inverse", array)
        if not np.array_equal(np.sort(array), order) or not np.array_equal(np.argsort(array), back):
            raise ValueError(
                f"{name} and {name}_inverse: got arrays that do not invert each other, expected a permutation "
                "and its inverse."
            )


def _value(target):
    return target.matrix() if isinstance(target, Conv1x1) else target


def infer(arrays):
    """Return the options of `glow`, and the channels of the images."""
    steps = [match for match in map(_STEP.match, arrays) if match]
    if not steps:
        shown = next(iter(arrays), "no variables")
        raise ValueError(f"from_openai: got {shown}, expected variables such as model/0/0/actnorm_center/b.")
    weights, first = Weights(arrays), "model/0/0"
    size = weights.take(f"{first}/actnorm_center/b", (1, 1, 1, None)).size
    outputs = weights.take(f"{first}/f1/l_last/W", (3, 3, None, None)).shape[-1]
    parts = {match[3].split("/")[0] for match in steps}
    classes = any(name.startswith("model/prior/y_emb/") for name in arrays)
    return {
        "channels": size // 4,
        "levels": 1 + max(int(match[1]) for match in steps),
        "steps": 1 + max(int(match[2]) for match in steps),
        "width": weights.take(f"{first}/f1/l_1/W", (3, 3, None, None)).shape[-1],
        "coupling": "affine" if outputs == size else "additive",
        # What neither convolves nor shuffles reverses, and keeps nothing.
        "permutation": "conv1x1" if "invconv" in parts else "shuffle" if "shuffle" in parts else "reverse",
        "learn_top": any(name.startswith("model/prior/p/") for name in arrays),
        "num_classes": len(weights.take("model/prior/y_emb/W", (None, None))) if classes else None,
    }


# The weights by their published names

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
        yield "model/prior/y_emb/W", table.kernel, tuple(table.kernel.shape)
        for name, weight in (("b", table.bias), ("logs", table.logs)):
            yield f"model/prior/y_emb/{name}", weight, (1, *weight.shape)


def step_slots(steps):
    """Yield the `slots` of the steps alone."""
    for level, triples in enumerate(steps):
        for index, (norm, mix, coupling) in enumerate(triples):
            name, net, c = f"model/{level}/{index}", coupling.conditioner, norm.shift.shape[0]
            yield from _actnorm(name, norm.shift, norm.logs)
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
        raise ValueError(
            "to_openai: got other layers, expected a Glow as flowkit.zoo.glow makes it, with "
            "class_conditioning='top_prior'."
        )
    if not all(scale.built for scale in bijector.scales) or not bijector.adapted:
        raise ValueError("to_openai: got a Glow that has seen no data. Adapt or fit it first.")


def _is_step(triple):
    return tuple(map(type, triple)) in _STEPS and type(triple[-1].conditioner) is ConvNet


# Weights of other implementations as published ones


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
    return {f"{name}/W": kernel, **actnorm(name, bias, logs)}


def actnorm(name, shift, logs):
    """Return the published variables of an actnorm: (x + shift) exp(3 logs)."""
    return {
        f"{name}/actnorm_center/b": shift.reshape(1, 1, 1, -1),
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
