"""Autoregressive flows and couplings of zuko."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from flowkit.bijectors import Chain
from flowkit.convert.files import check_log_prob, read_variables
from flowkit.convert.inventory import as_arrays
from flowkit.convert.masked import Masked, masked_layer
from flowkit.convert.masked_coupling import coupling_layer
from flowkit.convert.zuko_inventory import layer_names, linear_places
from flowkit.distributions import Normal
from flowkit.flows.flow import Flow
from flowkit.transforms import ScaleShift, SoftClippedSpline


def from_zuko(
    variables: Mapping[str, Any] | str | Path,
    *,
    activation: str = "relu",
    bound: float | None = None,
    least: float = 1e-3,
    check: Mapping[str, Any] | str | Path | None = None,
) -> Flow:
    """A `Flow` with the weights of a `MAF`, `NSF`, `NICE` or `RealNVP` of zuko: its state dict, or the file of one.

    Sizes, orders, masks, bins and the context follow from names and shapes. What the weights do not tell are
    arguments: the `activation` of the networks; `bound`, None for affine maps, and for the splines of a `NSF` where
    they end, which is 5.0 there; and `least`, the least slope of either. Give `bound` for a NSF alone: another map may
    have as many numbers, as a `BPF` of degree 16 has.

    The densities and latents are those of zuko, and samples of the same latents. Raises ValueError that names what
    cannot be expressed: one feature, `passes`, residual blocks, another base than the standard normal; and weights that
    are missing, of another shape, unknown or not finite. What has no weights is in no state dict: between other
    layers it is refused, after the last one nothing tells of it.

    A wrong argument gives a flow of other densities. `check`, {"rows": ..., "log_prob": ...} with `context` if there is
    one, or an .npz file of these, compares: ValueError with the largest difference.

    >>> from_zuko({"transform.transforms.0.weight": np.zeros(3)})
    Traceback (most recent call last):
    ...
    ValueError: transform.transforms.0: expected its order, as of a MAF or NSF of zuko, or its mask, as of a NICE or \
RealNVP, received neither
    """
    arrays = as_arrays(read_variables(variables) if isinstance(variables, str | Path) else variables)
    names = layer_names(arrays)
    parts = [_layer(name, arrays, activation, bound, least) for name in names]
    flow = Flow(Chain([layer for layer, _ in parts]), base=Normal(), name="zuko")
    first = "transform.transforms.0."
    order, mask = arrays.get(f"{first}order"), arrays.get(f"{first}mask")
    size, seen = (len(order), len(order)) if mask is None else (len(mask), np.sum(mask))
    context = int(arrays[f"{first}hyper.0.weight"].shape[1] - seen)
    flow.build({"x": (None, size), "context": (None, context)} if context else (None, size))
    for _, fill in parts:
        fill()
    return check_log_prob(flow, check)


def _layer(name, arrays, activation, bound, least):
    """A layer, and the function that fills it."""
    coupling = f"{name}.mask" in arrays
    kinds = ("weight", "bias") if coupling else ("weight", "bias", "mask")
    places = linear_places(name, arrays)
    layers = [[arrays[f"{name}.hyper.{place}.{kind}"] for place in places] for kind in kinds]
    mask = arrays[f"{name}.mask"].astype(bool) if coupling else None
    changed = np.sum(~mask) if coupling else len(arrays[f"{name}.order"])
    transform = _transform(name, len(layers[1][-1]) // changed, bound, least)
    if coupling:
        return coupling_layer(*layers, mask, transform, activation)
    rank = arrays[f"{name}.order"]
    return masked_layer(name, Masked(*layers), np.argsort(rank), transform, activation)


def _transform(name, parameters, bound, least):
    if bound is None and parameters == 2:
        return ScaleShift("softclip", least=least)
    if bound is not None and parameters % 3 == 2:
        return SoftClippedSpline((parameters + 1) // 3, bound=bound, least=least)
    expected = (
        "2 parameters for each entry (for a NSF pass bound=5.0)" if bound is None else "3 K - 1 for K bins"
    )
    raise ValueError(f"{name}: expected {expected}, received {parameters}")
