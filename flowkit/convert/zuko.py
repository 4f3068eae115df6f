"""Masked autoregressive flows of zuko."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from flowkit.bijectors import Chain
from flowkit.convert.files import read_variables
from flowkit.convert.inventory import as_arrays
from flowkit.convert.masked import Masked, masked_layer
from flowkit.distributions import Normal
from flowkit.flows.flow import Flow
from flowkit.transforms import ScaleShift, SoftClippedSpline


def from_zuko(
    variables: Mapping[str, Any] | str | Path,
    *,
    activation: str = "relu",
    bound: float = 5.0,
    least: float = 1e-3,
) -> Flow:
    """A `Flow` with the weights of a `zuko.flows.MAF` or `NSF`, given as its state dict or the file of one.

    Sizes, orders, bins and the context follow from names and shapes. What the weights do not tell are arguments, with
    zuko's defaults: the `activation` of the networks, and of the splines their `bound` and `least` slope.

    The densities and latents are those of zuko, and samples of the same latents. Raises ValueError that names what
    cannot be expressed: one feature, `passes` (couplings), residual networks, another base than the standard normal.

    >>> from_zuko({"transform.transforms.0.weight": np.zeros(3)})
    Traceback (most recent call last):
    ...
    ValueError: transform.transforms.0.order: missing, expected a MAF or NSF of zuko
    """
    arrays = as_arrays(read_variables(variables) if isinstance(variables, str | Path) else variables)
    _check_base(arrays)
    names = sorted(
        {name.split(".")[2] for name in arrays if name.startswith("transform.transforms.")}, key=int
    )
    parts = []
    for i in names:
        parts.append(_layer(f"transform.transforms.{i}", arrays, activation, bound, least))
    flow = Flow(Chain([layer for layer, _ in parts]), base=Normal(), name="zuko")
    size = len(arrays["transform.transforms.0.order"])
    width = arrays["transform.transforms.0.hyper.0.weight"].shape[1]
    flow.build((None, size) if width == size else {"x": (None, size), "context": (None, width - size)})
    for _, fill in parts:
        fill()
    return flow


def _layer(name, arrays, activation, bound, least):
    if f"{name}.order" not in arrays:
        raise ValueError(f"{name}.order: missing, expected a MAF or NSF of zuko")
    rank = arrays[f"{name}.order"]
    if sorted(rank.tolist()) != list(range(len(rank))):
        raise ValueError(
            f"{name}.order: expected a permutation, as without `passes`, received {rank.tolist()}"
        )
    pattern = re.compile(re.escape(name) + r"\.hyper\.(\d+)\.(weight|bias|mask)")
    odd = [key for key in arrays if key.startswith(f"{name}.hyper.") and not pattern.fullmatch(key)]
    if odd:
        raise ValueError(f"{odd[0]}: expected networks without residual blocks")
    places = sorted({int(found[1]) for key in arrays if (found := pattern.fullmatch(key))})
    network = Masked(
        *([arrays[f"{name}.hyper.{place}.{kind}"] for place in places] for kind in ("weight", "bias", "mask"))
    )
    parameters = len(network.biases[-1]) // len(rank)
    if parameters == 2:
        transform = ScaleShift("softclip", least=least)
    elif parameters % 3 == 2:
        transform = SoftClippedSpline((parameters + 1) // 3, bound=bound, least=least)
    else:
        raise ValueError(f"{name}: expected 2 or 3 K - 1 parameters for each entry, received {parameters}")
    return masked_layer(name, network, np.argsort(rank), transform, activation)


def _check_base(arrays):
    loc, scale = arrays.get("base.loc"), arrays.get("base.scale")
    if loc is not None and (np.any(loc != 0) or np.any(scale != 1)):
        raise ValueError("base: expected the standard normal, received another mean or deviation")
