"""Weights of rosinality's glow-pytorch."""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from flowkit.contract import Tensor
from flowkit.convert.openai import (
    actnorm,
    conv,
    conv_zeros,
    infer,
    interleaving,
    kernel,
    make,
    one_padded,
    plu_matrix,
    zero_padded,
)
from flowkit.convert.weights import Weights, arrays_of, check_log_prob
from flowkit.flow.flow import Flow

_STEP = re.compile(r"blocks\.(\d+)\.flows\.(\d+)\.(.+)")
_FACTORS = ("w_p", "w_l", "w_u")
_CONSTANTS = ("u_mask", "l_mask", "l_eye")


def from_rosinality(
    state_dict: Mapping[str, Tensor],
    *,
    n_bits: int | None = 5,
    input_shape: Sequence[int] | None = None,
    check: str | bool | None = None,
) -> Flow:
    """Return a `Flow` with the weights of rosinality's `Glow`: the same densities.

    - `state_dict`: that of the model, tensors or arrays; the `module.` that DataParallel puts before
      each name may stay.
    - `n_bits`: 5 is what that code trains with unless told otherwise; None takes inputs in
      [-0.5, 0.5]. `input_shape`, `check`: as for `from_openai`.

    All its deviations become weights of the published model: channels are dealt in another order, ones
    around the image become the edge's kernel, a scale of an actnorm its logarithm, and a negative one
    changes the sign of a row of the 1x1 convolution that follows. Its latents are not whitened,
    flowkit's are: `encode` gives (z - mean) / deviation, in the same order. Where a convolution is
    factored, all are (`lu=True`).

    Raises ValueError that names what is missing, mis-shaped or too much, with the expected shape, and
    an actnorm that has seen no data or whose scale is 0.
    """
    weights = Weights({name.removeprefix("module."): array for name, array in arrays_of(state_dict).items()})
    steps = [match for match in map(_STEP.match, weights) if match]
    if not steps:
        shown = weights.first() or "no variables"
        raise ValueError(f"state_dict: got {shown}, expected some such as blocks.0.flows.0.actnorm.loc.")
    first = "blocks.0.flows.0"
    size = weights.take(f"{first}.actnorm.loc", (1, None, 1, 1)).size
    width = len(weights.take(f"{first}.coupling.net.0.bias", (None,)))
    affine = len(weights.take(f"{first}.coupling.net.4.conv.bias", (None,))) == size
    levels, count = (1 + max(int(match[place]) for match in steps) for place in (1, 2))
    variables = {}
    for level in range(levels):
        channels = size * 2**level
        for step in range(count):
            source = f"blocks.{level}.flows.{step}."
            variables |= _step(f"model/{level}/{step}", weights, source, channels, width, affine)
        variables |= _prior(weights, level, channels, top=level == levels - 1)
    weights.refuse_rest()
    factored = any(match[3].startswith("invconv.w_") for match in steps)
    flow = make(infer(variables), variables, n_bits=n_bits, input_shape=input_shape, lu=factored)
    return check_log_prob(flow, check)


def _step(name, weights, source, c, width, affine):
    def take(key, *shape):
        return weights.take(f"{source}{key}", shape)

    if not take("actnorm.initialized"):
        raise ValueError(f"{source}actnorm has seen no data. Run the model on a batch before it is saved.")
    loc, scale = take("actnorm.loc", 1, c, 1, 1), take("actnorm.scale", 1, c, 1, 1).astype("float64").ravel()
    if not scale.all():
        raise ValueError(f"{source}actnorm.scale is 0 for channel {np.argmin(np.abs(scale))}: not invertible")
    # With `--no_lu` that code still factors the convolutions of the last block.
    if f"{source}invconv.weight" in weights:
        matrix = take("invconv.weight", c, c, 1, 1)[:, :, 0, 0].astype("float64")
    else:
        p, lower, upper, *_ = (take(f"invconv.{key}", c, c) for key in (*_FACTORS, *_CONSTANTS))
        matrix = plu_matrix(p, lower, upper, take("invconv.s_sign", c), take("invconv.w_s", c))
    kernels = [
        kernel(take("coupling.net.0.weight", width, c // 2, 3, 3)),
        kernel(take("coupling.net.2.weight", width, width, 1, 1)),
    ]
    biases = [take(f"coupling.net.{layer}.bias", width) for layer in (0, 2)]
    last, bias, logs = _zero_conv(weights, f"{source}coupling.net.4.", width, c if affine else c // 2)
    if affine:  # first all scales, then all shifts
        order = interleaving(np.arange(c // 2, c), np.arange(c // 2))
        last, bias, logs = last[..., order], bias[order], logs[order]
    return {
        **actnorm(name, loc, np.log(np.abs(scale)) / 3),
        # z = W (scale (x + loc)): what is negative in scale goes into the columns of W. That code multiplies from the
        # left.
        f"{name}/invconv/W": (matrix * np.sign(scale)).T,
        **conv(f"{name}/f1/l_1", zero_padded(kernels[0]), biases[0]),
        **conv(f"{name}/f1/l_2", kernels[1], biases[1]),
        **conv_zeros(f"{name}/f1/l_last", last, bias, logs),
    }


def _prior(weights, level, c, top):
    inputs, outputs = (c, 2 * c) if top else (c // 2, c)
    weight, bias, logs = _zero_conv(weights, f"blocks.{level}.prior.", inputs, outputs)
    if top:  # reads zeros, of which the published code has twice as many: only the edge counts
        edge = weight[:, :, -1:]
        weight = np.concatenate([np.zeros_like(edge).repeat(outputs, axis=2), edge], axis=2)
        return conv_zeros("model/prior/p", weight, bias, logs)
    order = interleaving(np.arange(c // 2), np.arange(c // 2, c))  # first all means, then all log-deviations
    return conv_zeros(f"model/pool{level}/conv", weight[..., order], bias[order], logs[order])


def _zero_conv(weights, source, inputs, outputs):
    """Return the published kernel of a convolution that starts at zero, its bias and its logarithms of scales."""
    weight = weights.take(f"{source}conv.weight", (outputs, inputs, 3, 3))
    bias = weights.take(f"{source}conv.bias", (outputs,))
    return one_padded(kernel(weight)), bias, weights.take(f"{source}scale", (1, outputs, 1, 1)).ravel()
