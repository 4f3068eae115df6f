"""Autoregressive flows and couplings of zuko."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from flowkit.bijectors import Chain
from flowkit.convert.files import read_variables
from flowkit.convert.inventory import as_arrays
from flowkit.convert.masked import Masked, masked_layer
from flowkit.convert.masked_coupling import coupling_layer
from flowkit.distributions import Normal
from flowkit.flows.flow import Flow
from flowkit.transforms import ScaleShift, SoftClippedSpline


def from_zuko(
    variables: Mapping[str, Any] | str | Path,
    *,
    activation: str = "relu",
    bound: float | None = None,
    least: float = 1e-3,
) -> Flow:
    """A `Flow` with the weights of a `MAF`, `NSF`, `NICE` or `RealNVP` of zuko: its state dict, or the file of one.

    Sizes, orders, masks, bins and the context follow from names and shapes. What the weights do not tell are
    arguments: the `activation` of the networks; `bound`, None for affine maps, and for the splines of a `NSF` where
    they end, which is 5.0 there; and `least`, the least slope of either.

    The densities and latents are those of zuko, and samples of the same latents. Raises ValueError that names what
    cannot be expressed: one feature, `passes`, residual blocks, another base than the standard normal.

    >>> from_zuko({"transform.transforms.0.weight": np.zeros(3)})
    Traceback (most recent call last):
    ...
    ValueError: transform.transforms.0.order: missing, expected a MAF, NSF, NICE or RealNVP of zuko
    """
    arrays = as_arrays(read_variables(variables) if isinstance(variables, str | Path) else variables)
    _check_base(arrays)
    found = [re.match(r"transform\.transforms\.(\d+)\.", name) for name in arrays]
    names = sorted({int(match[1]) for match in found if match})
    if not names:
        shown = ", ".join(list(arrays)[:3]) or "none"
        raise ValueError(
            f"expected variables such as transform.transforms.0.hyper.0.weight, received {shown}"
        )
    parts = [_layer(f"transform.transforms.{i}", arrays, activation, bound, least) for i in names]
    flow = Flow(Chain([layer for layer, _ in parts]), base=Normal(), name="zuko")
    first = "transform.transforms.0."
    order, mask = arrays.get(f"{first}order"), arrays.get(f"{first}mask")
    size, seen = (len(order), len(order)) if mask is None else (len(mask), np.sum(mask))
    context = int(arrays[f"{first}hyper.0.weight"].shape[1] - seen)
    flow.build({"x": (None, size), "context": (None, context)} if context else (None, size))
    for _, fill in parts:
        fill()
    return flow


def _layer(name, arrays, activation, bound, least):
    """A layer, and the function that fills it."""
    coupling = f"{name}.mask" in arrays
    if not coupling and f"{name}.order" not in arrays:
        raise ValueError(f"{name}.order: missing, expected a MAF, NSF, NICE or RealNVP of zuko")
    kinds = ("weight", "bias") if coupling else ("weight", "bias", "mask")
    pattern = re.compile(re.escape(name) + rf"\.hyper\.(\d+)\.({'|'.join(kinds)})")
    odd = [key for key in arrays if key.startswith(f"{name}.hyper.") and not pattern.fullmatch(key)]
    if odd:
        raise ValueError(
            f"{odd[0]}: expected networks of linear layers, without residual blocks or normalisation"
        )
    places = sorted({int(found[1]) for key in arrays if (found := pattern.fullmatch(key))})
    if not places:
        raise ValueError(f"{name}.hyper.0.weight: missing, expected a network of linear layers")
    layers = [[arrays[f"{name}.hyper.{place}.{kind}"] for place in places] for kind in kinds]
    mask = arrays[f"{name}.mask"].astype(bool) if coupling else None
    changed = np.sum(~mask) if coupling else len(arrays[f"{name}.order"])
    transform = _transform(name, len(layers[1][-1]) // changed, bound, least)
    if coupling:
        return coupling_layer(*layers, mask, transform, activation)
    rank = arrays[f"{name}.order"]
    if sorted(rank.tolist()) != list(range(len(rank))):
        raise ValueError(
            f"{name}.order: expected a permutation, as without `passes`, received {rank.tolist()}"
        )
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


def _check_base(arrays):
    loc, scale = arrays.get("base.loc"), arrays.get("base.scale")
    if loc is not None and (np.any(loc != 0) or np.any(scale != 1)):
        raise ValueError("base: expected the standard normal, received another mean or deviation")
