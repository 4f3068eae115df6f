"""Glows made of the parts of normflows."""

from typing import Any

import numpy as np

from flowkit.bijectors import MultiScale
from flowkit.conditioners import PlacePrior, TopPrior
from flowkit.contract.adaptation import mark_adapted
from flowkit.convert.openai import (
    actnorm,
    conv,
    conv_zeros,
    fill,
    kernel,
    plu_matrix,
    separate_steps,
    step_slots,
    zero_padded,
)
from flowkit.convert.weights import check_log_prob
from flowkit.engines import plain_array
from flowkit.flow.flow import Flow
from flowkit.zoo import glow


def from_normflows(model: Any, *, n_bits: int | None = None, check: str | bool | None = None) -> Flow:
    """Return a `Flow` with the weights of a normflows `MultiscaleFlow` that is a Glow: the same densities.

    - `model`: levels of `GlowBlock`s and a `Squeeze` each, channel-wise merges, and as base densities
      `GlowBase`, `DiagGaussian` or `ClassCondDiagGaussian`; a `Shift` as its transform is understood.
    - `n_bits`: None takes inputs as that model does (but channels last); 1 to 8 takes images as stored,
      if the model was trained on images dequantised to [0, 1).
    - `check`: {"rows": ..., "log_prob": ...} of the original, or an .npz file of these, to compare with. Rows are
      channels last, in [-0.5, 0.5] if `n_bits` is given. ValueError with the largest difference.

    Its densities of split latents read nothing of what stays: `PlacePrior` and `TopPrior` say the same.
    All else becomes weights of the published model. Its latents are not whitened, flowkit's are:
    `encode` gives (z - mean) / deviation, the level next to the data first.

    Raises ValueError that names the part that cannot be expressed (scales "exp" and "sigmoid_inv", leaky
    ReLUs, other splits, other bases), and an actnorm that has seen no data.
    """
    levels = _levels(model)
    blocks = [block for level in levels for block in level]
    options = {
        "levels": len(levels),
        "steps": _one("a number of GlowBlocks", [len(level) for level in levels]),
        "width": _one("a width", [_convs(name, block)[0][0].weight.shape[0] for name, block in blocks]),
        "coupling": _one("a kind of coupling", [_coupling(block) for _, block in blocks]),
    }
    offset = _offset(model.transform) + (0 if n_bits is None else 0.5)
    variables = {}
    for level, steps in enumerate(levels):
        for step, (name, block) in enumerate(steps):
            first = level == step == 0
            variables |= _step(f"model/{level}/{step}", name, block, offset if first else 0)
    plain = glow(**options, n_bits=n_bits, lu=all(block.flows[1].use_lu for _, block in blocks))
    bases = list(model.q0)[::-1]  # the one of the last latents comes first there
    *priors, top = [_prior(f"q0.{len(bases) - 1 - level}", base) for level, base in enumerate(bases)]
    bijector = MultiScale(
        plain.bijector.scales, priors=priors, top_prior=top, prior_layout="contiguous", name="glow"
    )
    flow = Flow(bijector, dequantize=plain.dequantize, name="glow")
    c, height, width = bases[0].shape  # of the latents of the first level
    shape = (None, 2 * height, 2 * width, c // (4 if len(bases) == 1 else 2))
    flow.build(shape if bijector.num_classes is None else {"x": shape, "context": (None,)})
    with separate_steps(bijector.scales) as steps:
        fill(step_slots(steps), variables)
    for prior, base in zip([*priors, top], bases, strict=True):
        _fill_prior(prior, base)
    mark_adapted(flow.bijector)
    return check_log_prob(flow, check)


def _levels(model):
    """Return each level's (name, GlowBlock), the level next to the data first, in the order of data to latent."""
    _expect("model", "a MultiscaleFlow of normflows", type(model).__name__, "MultiscaleFlow")
    for i, merge in enumerate(model.merges):
        _expect(f"merges.{i}", "a Merge of mode 'channel'", getattr(merge, "mode", merge), "channel")
    levels = []
    for i in reversed(range(len(model.q0))):
        *blocks, squeeze = model.flows[i]
        _expect(f"flows.{i}", "a Squeeze at the end", type(squeeze).__name__, "Squeeze")
        named = [(f"flows.{i}.{k}", block) for k, block in enumerate(blocks)]
        for name, block in named:
            _check_block(name, block)
        levels.append(named[::-1])
    return levels


def _check_block(name, block):
    _expect(name, "a GlowBlock", type(block).__name__, "GlowBlock")
    split, coupling, _ = block.flows[0].flows
    _expect(name, "split_mode 'channel'", split.mode, "channel")
    if coupling.scale:
        _expect(name, "scale_map 'sigmoid'", coupling.scale_map, "sigmoid")
    for part in coupling.param_map.net:
        _expect(name, "ReLUs, leaky=0", getattr(part, "negative_slope", 0), 0)
    for norm in (block.flows[2], *(norm for _, norm in _convs(name, block) if norm is not None)):
        if not norm.data_dep_init_done:
            raise ValueError(f"{name}: an ActNorm has seen no data. Compute log_prob of a batch first.")


def _expect(place, wanted, found, right):
    if found != right:
        raise ValueError(f"{place}: got {found!r}, expected {wanted}.")


def _convs(name, block):
    """Return the three (convolution, actnorm or None) of a block's network."""
    convs = []
    for part in block.flows[0].flows[1].param_map.net:
        if hasattr(part, "kernel_size"):
            convs.append((part, None))
        elif hasattr(part, "actNorm"):
            convs[-1] = (convs[-1][0], part.actNorm)
    sizes = [conv.kernel_size[0] for conv, _ in convs]
    _expect(name, "a network of convolutions of sizes 3, 1 and 3", sizes, [3, 1, 3])
    return convs


def _coupling(block):
    return "affine" if block.flows[0].flows[1].scale else "additive"


def _step(name, source, block, offset):
    _, mix, norm = block.flows
    # There data are (z exp(s) + t); here latents are (x + shift) exp(3 logs).
    shift, logs = offset - _flat(norm.t), -_flat(norm.s) / 3
    if mix.use_lu:
        matrix = plu_matrix(*(_array(getattr(mix, key)) for key in ("P", "L", "U", "sign_S", "log_S")))
    else:
        matrix = _array(mix.W).astype("float64")
    (first, second, (last, _)) = _convs(source, block)
    weight, bias = zero_padded(kernel(_array(last.weight))), _flat(last.bias)
    # There the shift is taken away from the data, here it is added.
    sign = np.ones(len(bias))
    sign[slice(0, None, 2) if block.flows[0].flows[1].scale else slice(None)] = -1
    return {
        **actnorm(name, shift, logs),
        f"{name}/invconv/W": matrix.T,  # there it multiplies from the left
        **_hidden(f"{name}/f1/l_1", *first, zero_padded),
        **_hidden(f"{name}/f1/l_2", *second, lambda kernel: kernel),
        **conv_zeros(f"{name}/f1/l_last", weight * sign, bias * sign),
    }


def _hidden(name, layer, norm, pad):
    weight = pad(kernel(_array(layer.weight)))
    if norm is None:
        return conv(name, weight, _flat(layer.bias))
    scale, shift = _flat(norm.s), _flat(norm.t)  # h exp(s) + t
    return conv(name, weight, shift * np.exp(-scale), scale / 3)


def _prior(name, base):
    kind = type(base).__name__
    if kind == "GlowBase":
        return TopPrior(edge_bias=False, num_classes=base.num_classes)
    if kind == "DiagGaussian":
        return PlacePrior()
    if kind == "ClassCondDiagGaussian":
        return PlacePrior(num_classes=base.num_classes)
    raise ValueError(f"{name}: got a {kind}, expected GlowBase, DiagGaussian or ClassCondDiagGaussian.")


def _fill_prior(prior, base):
    """Set (mean, logs), halves of the channels."""
    loc, logs = _array(base.loc).astype("float64"), _array(base.log_scale).astype("float64")
    if isinstance(prior, TopPrior):
        loc = loc * np.exp(base.logscale_factor * _array(base.loc_logs))
        logs = logs * np.exp(base.logscale_factor * _array(base.log_scale_logs))
        prior.conv.bias.assign(np.concatenate([loc.ravel(), logs.ravel()]))
        if prior.num_classes is not None:
            tables = [_array(base.loc_cc), _array(base.log_scale_cc)]
            prior.embedding.kernel.assign(np.concatenate(tables, axis=-1))
        return
    axes = (0, 2, 3, 1) if prior.num_classes is None else (3, 1, 2, 0)  # (1, c, h, w), or (c, h, w, classes)
    prior.table.assign(np.concatenate([loc.transpose(axes), logs.transpose(axes)], axis=-1))


def _offset(transform):
    if transform is None:
        return 0
    _expect("transform", "none or a Shift", type(transform).__name__, "Shift")
    return float(transform.shift)


def _one(what, values):
    if len(set(values)) != 1:
        raise ValueError(
            f"from_normflows: got {what} of {sorted(set(values))}, expected the same for all levels and blocks."
        )
    return values[0]


def _array(tensor):
    return plain_array(tensor, "a weight")


def _flat(tensor):
    return _array(tensor).astype("float64").ravel()
