"""Masked autoregressive flows of nflows."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from flowkit.bijectors import Chain, Permute
from flowkit.convert.files import read_variables
from flowkit.convert.inventory import as_arrays
from flowkit.convert.masked import Masked, masked_layer
from flowkit.distributions import Normal
from flowkit.flows.flow import Flow
from flowkit.transforms import RationalQuadratic, ScaleShift

_SLOPE_OF_ONE = math.log(math.expm1(1 - 1e-3))  # what flowkit adds to raw slopes, and nflows does not


def from_nflows(
    variables: Mapping[str, Any] | str | Path, *, activation: str = "relu", bound: float | None = None
) -> Flow:
    """A `Flow` with the weights of an nflows `Flow` that is a MAF, given as its state dict or the file of one.

    Its transform is a `CompositeTransform` of permutations and of `MaskedAffineAutoregressiveTransform` or
    `MaskedPiecewiseRationalQuadraticAutoregressiveTransform` with linear tails, its base a `StandardNormal`. Sizes and
    bins follow from names and shapes. What the weights do not tell are arguments: the `activation` of the networks, and
    `bound`, which is there the `tail_bound` of splines; None says that there are none.

    The densities and latents are those of nflows, and samples of the same latents. Raises ValueError that names what
    cannot be expressed: other transforms, residual blocks, batch norm, a context (there it does not reach the first
    entry, here it must).

    >>> from_nflows({"_transform._transforms.0.weight": np.zeros(3)})
    Traceback (most recent call last):
    ...
    ValueError: _transform._transforms.0.weight: expected permutations and masked autoregressive transforms
    """
    arrays = as_arrays(read_variables(variables) if isinstance(variables, str | Path) else variables)
    groups: dict[int, dict[str, np.ndarray]] = {}
    for name, array in arrays.items():
        found = re.fullmatch(r"_transform\._transforms\.(\d+)\.(.+)", name)
        if found is None:
            if name == "_distribution._log_z":
                continue
            raise ValueError(f"{name}: expected a CompositeTransform and a StandardNormal")
        groups.setdefault(int(found[1]), {})[found[2]] = array
    parts, fills = [], []
    size = None
    for i in sorted(groups):
        name, own = f"_transform._transforms.{i}", groups[i]
        if set(own) == {"_permutation"}:
            parts.append(Permute(own["_permutation"].tolist()))
            continue
        network = _network(name, own)
        size = network.kernels[0].shape[1]
        layer, fill = _layer(name, network, size, activation, bound)
        parts.append(layer)
        fills.append(fill)
    if size is None:
        raise ValueError("expected a masked autoregressive transform, received none")
    flow = Flow(Chain(parts), base=Normal(), name="nflows")
    flow.build((None, size))
    for fill in fills:
        fill()
    return flow


def _network(name, own):
    blocks = sum(key.endswith(".linear.weight") for key in own)
    linear = ["initial_layer", *(f"blocks.{j}.linear" for j in range(blocks)), "final_layer"]
    known = {
        f"autoregressive_net.{layer}.{kind}"
        for layer in linear
        for kind in ("weight", "bias", "mask", "degrees")
    }
    odd = sorted(set(own) - known)
    if odd:
        first = f"{name}.{odd[0]}"
        if "linear_layers" in odd[0] or "batch_norm" in odd[0] or "context_layer" in odd[0]:
            raise ValueError(f"{first}: expected networks without residual blocks, batch norm and context")
        raise ValueError(f"{first}: expected permutations and masked autoregressive transforms")
    kinds = ("weight", "bias", "mask")
    return Masked(*([own[f"autoregressive_net.{layer}.{kind}"] for layer in linear] for kind in kinds))


def _layer(name, network, size, activation, bound):
    order, parameters = np.arange(size), len(network.biases[-1]) // size
    if parameters == 2:  # there the scale comes first
        return masked_layer(name, network, order, ScaleShift("softplus"), activation, places=[1, 0])
    if bound is None or parameters % 3 != 2:
        known = (
            "2 parameters for each entry (for splines pass bound=, their tail_bound)"
            if bound is None
            else "3 K - 1"
        )
        raise ValueError(f"{name}: expected {known}, received {parameters}")
    bins = (parameters + 1) // 3
    biases = network.biases[-1].astype("float64").reshape(size, parameters)
    biases[:, 2 * bins :] -= _SLOPE_OF_ONE
    network = Masked(network.kernels, [*network.biases[:-1], biases.reshape(-1)], network.masks)
    return masked_layer(name, network, order, RationalQuadratic(bins, bound=bound), activation)
