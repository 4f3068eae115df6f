"""Weights of rosinality's glow-pytorch."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from flowkit.convert.files import check_log_prob
from flowkit.convert.inventory import as_arrays, check_inventory, most_common
from flowkit.convert.openai import make
from flowkit.convert.published import (
    conv,
    conv_zeros,
    interleaving,
    kernel,
    one_padded,
    plu_matrix,
    zero_padded,
)
from flowkit.flow.flow import Flow

_STEP = re.compile(r"blocks\.(\d+)\.flows\.(\d+)\.(.+)")
_FACTORS = ("w_p", "u_mask", "l_mask", "l_eye", "w_l", "w_u")  # matrices; and vectors:
_DIAGONAL = ("s_sign", "w_s")


def from_rosinality(
    state_dict: Any, *, n_bits: int | None = 5, input_shape: Sequence[int] | None = None, check: Any = None
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
    arrays = {name.removeprefix("module."): array for name, array in as_arrays(state_dict).items()}
    options, factored = _infer(arrays)
    check_inventory(arrays, _expected(options, factored))
    variables = {}
    for level in range(options["levels"]):
        for step in range(options["steps"]):
            name = f"blocks.{level}.flows.{step}."
            parts = {key.removeprefix(name): array for key, array in arrays.items() if key.startswith(name)}
            variables |= _step(f"model/{level}/{step}", parts, name, options["coupling"])
        variables |= _prior(arrays, level, top=level == options["levels"] - 1)
    flow = make(options, variables, n_bits=n_bits, input_shape=input_shape, lu=bool(factored))
    return check_log_prob(flow, check)


def _step(name, parts, source, coupling):
    if not parts["actnorm.initialized"]:
        raise ValueError(f"{source}actnorm has seen no data: run the model on a batch before it is saved")
    scale = parts["actnorm.scale"].astype("float64").ravel()
    if not scale.all():
        raise ValueError(f"{source}actnorm.scale is 0 for channel {np.argmin(np.abs(scale))}: not invertible")
    # z = W (scale (x + loc)): what is negative in scale goes into the columns of W.
    if "invconv.weight" in parts:
        matrix = parts["invconv.weight"][:, :, 0, 0].astype("float64")
    else:
        keys = ("w_p", "w_l", "w_u", "s_sign", "w_s")
        matrix = plu_matrix(*(parts[f"invconv.{key}"] for key in keys))
    last = one_padded(kernel(parts["coupling.net.4.conv.weight"]))
    bias, logs = parts["coupling.net.4.conv.bias"], parts["coupling.net.4.scale"].ravel()
    if coupling == "affine":  # first all scales, then all shifts
        half = len(bias) // 2
        order = interleaving(np.arange(half, 2 * half), np.arange(half))
        last, bias, logs = last[..., order], bias[order], logs[order]
    return {
        f"{name}/actnorm_center/b": parts["actnorm.loc"].reshape(1, 1, 1, -1),
        f"{name}/actnorm_scale/logs": (np.log(np.abs(scale)) / 3).reshape(1, 1, 1, -1),
        f"{name}/invconv/W": (matrix * np.sign(scale)).T,  # that code multiplies from the left
        **conv(
            f"{name}/f1/l_1",
            zero_padded(kernel(parts["coupling.net.0.weight"])),
            parts["coupling.net.0.bias"],
        ),
        **conv(f"{name}/f1/l_2", kernel(parts["coupling.net.2.weight"]), parts["coupling.net.2.bias"]),
        **conv_zeros(f"{name}/f1/l_last", last, bias, logs),
    }


def _prior(arrays, level, top):
    weight, bias, logs = (
        arrays[f"blocks.{level}.prior.{key}"] for key in ("conv.weight", "conv.bias", "scale")
    )
    weight, logs = one_padded(kernel(weight)), logs.ravel()
    if top:  # reads zeros, of which the published code has twice as many: only the edge counts
        edge = weight[:, :, -1:]
        weight = np.concatenate([np.zeros_like(edge).repeat(edge.shape[-1], axis=2), edge], axis=2)
        return conv_zeros("model/prior/p", weight, bias, logs)
    half = len(bias) // 2  # first all means, then all log-deviations
    order = interleaving(np.arange(half), np.arange(half, 2 * half))
    return conv_zeros(f"model/pool{level}/conv", weight[..., order], bias[order], logs[order])


def _infer(arrays):
    """Return the options of `glow` with the channels, and the (level, step) whose convolution is factored."""
    steps = [match.groups() for name in arrays if (match := _STEP.match(name))]
    if not steps:
        shown = ", ".join(list(arrays)[:3]) or "none"
        raise ValueError(f"expected variables such as blocks.0.flows.0.actnorm.loc, received {shown}")
    channels, widths, outputs = [], [], []
    for level, step, rest in steps:
        shape, share = arrays[f"blocks.{level}.flows.{step}.{rest}"].shape, 4 * 2 ** int(level)
        if (
            rest in ("actnorm.loc", "actnorm.scale")
            and len(shape) == 4
            and shape[1]
            and shape[1] % share == 0
        ):
            channels.append(shape[1] // share)
        elif rest.startswith(("coupling.net.0.", "coupling.net.2.")) and shape:
            widths.append(shape[0])
        elif rest.startswith("coupling.net.4.conv.") and shape:
            outputs.append((share, shape[0]))
    channels = most_common(channels, "blocks.*.flows.*.actnorm.loc, whose size tells the channels")
    whole = [size == channels * share for share, size in outputs]
    options = {
        "channels": channels,
        "levels": 1 + max(int(level) for level, *_ in steps),
        "steps": 1 + max(int(step) for _, step, _ in steps),
        "width": most_common(widths, "blocks.*.flows.*.coupling.net.0.weight, whose size tells the width"),
        "coupling": "affine"
        if most_common(whole, "blocks.*.flows.*.coupling.net.4.conv.weight")
        else "additive",
        "learn_top": True,
        "num_classes": None,
    }
    # With `--no_lu` that code still factors the convolutions of the last block.
    return options, {(int(i), int(k)) for i, k, rest in steps if rest == "invconv.w_l"}


def _expected(options, factored):
    """Return name -> shape of everything in the state dict of such a model."""
    shapes, width = {}, options["width"]
    for level in range(options["levels"]):
        c = options["channels"] * 4 * 2**level
        out = c if options["coupling"] == "affine" else c // 2
        for step in range(options["steps"]):
            own = {"actnorm.loc": (1, c, 1, 1), "actnorm.scale": (1, c, 1, 1), "actnorm.initialized": ()}
            if (level, step) in factored:
                own |= {f"invconv.{key}": (c, c) for key in _FACTORS}
                own |= {f"invconv.{key}": (c,) for key in _DIAGONAL}
            else:
                own["invconv.weight"] = (c, c, 1, 1)
            own |= {
                "coupling.net.0.weight": (width, c // 2, 3, 3),
                "coupling.net.0.bias": (width,),
                "coupling.net.2.weight": (width, width, 1, 1),
                "coupling.net.2.bias": (width,),
                "coupling.net.4.conv.weight": (out, width, 3, 3),
                "coupling.net.4.conv.bias": (out,),
                "coupling.net.4.scale": (1, out, 1, 1),
            }
            shapes |= {f"blocks.{level}.flows.{step}.{key}": shape for key, shape in own.items()}
        inputs, outputs = (c, 2 * c) if level == options["levels"] - 1 else (c // 2, c)
        prior = f"blocks.{level}.prior."
        shapes |= {f"{prior}conv.weight": (outputs, inputs, 3, 3), f"{prior}conv.bias": (outputs,)}
        shapes[f"{prior}scale"] = (1, outputs, 1, 1)
    return shapes
