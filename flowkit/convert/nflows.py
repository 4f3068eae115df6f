"""Autoregressive flows and couplings of nflows."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from flowkit.bijectors import Chain, Permute
from flowkit.convert.files import read_variables
from flowkit.convert.inventory import as_arrays
from flowkit.convert.masked import Masked, masked_layer
from flowkit.convert.nflows_parts import SLOPE_OF_ONE, coupling_layer, is_linear, linear_layer
from flowkit.distributions import Normal
from flowkit.flows.flow import Flow
from flowkit.transforms import RationalQuadratic, ScaleShift


def from_nflows(
    variables: Mapping[str, Any] | str | Path, *, activation: str = "relu", bound: float | None = None
) -> Flow:
    """A `Flow` with the weights of an nflows `Flow`, given as its state dict or the file of one.

    Its base is a `StandardNormal`, its transform a `CompositeTransform`, of others if need be, of

    - permutations; `LULinear`, `QRLinear` and `SVDLinear`, as an `LULinear` of the same matrix;
    - `MaskedAffineAutoregressiveTransform` and `MaskedPiecewiseRationalQuadraticAutoregressiveTransform`;
    - `AdditiveCouplingTransform`, `AffineCouplingTransform` and `PiecewiseRationalQuadraticCouplingTransform` whose
      network is a `ResidualNet`, with a context or without, `apply_unconditional_transform` or not.

    So is the arrangement of Neural Spline Flows (2019). Sizes and bins follow from names and shapes. What the weights
    do not tell are arguments: the `activation` of the networks, and `bound`, which is there the `tail_bound` of
    splines, whose tails are linear; None says that there are none.

    The densities and latents are those of nflows, and samples of the same latents. Raises ValueError that names what
    cannot be expressed: other transforms and networks, batch norm, and of masked networks residual blocks and a context
    (there it does not reach the first entry, here it must).

    >>> from_nflows({"_transform._transforms.0.weight": np.zeros(3)})
    Traceback (most recent call last):
    ...
    ValueError: _transform._transforms.0.weight: expected permutations, matrices, couplings or masked networks
    """
    arrays = as_arrays(read_variables(variables) if isinstance(variables, str | Path) else variables)
    groups: dict[tuple[int, ...], dict[str, np.ndarray]] = {}
    for name, array in arrays.items():
        found = re.fullmatch(r"_transform((?:\._transforms\.\d+)*)\.(.+)", name)
        if found is None:
            if name == "_distribution._log_z":
                continue
            raise ValueError(f"{name}: expected a CompositeTransform and a StandardNormal")
        groups.setdefault(tuple(map(int, re.findall(r"\d+", found[1]))), {})[found[2]] = array
    parts, fills = [], []
    size = context = None
    for place in sorted(groups):
        name, own = "._transforms.".join(["_transform", *map(str, place)]), groups[place]
        if set(own) == {"_permutation"}:
            parts.append(Permute(own["_permutation"].tolist()))
            continue
        if is_linear(own) or "transform_features" in own:
            made, fill = (
                linear_layer(name, own) if is_linear(own) else coupling_layer(name, own, activation, bound)
            )
            size = (
                len(own["bias"])
                if is_linear(own)
                else len(own["identity_features"]) + len(own["transform_features"])
            )
            gate = own.get("transform_net.blocks.0.context_layer.weight")
            context = context if gate is None else gate.shape[1]
            parts += made
            fills.append(fill)
            continue
        network = _network(name, own)
        size = network.kernels[0].shape[1]
        layer, fill = _layer(name, network, size, activation, bound)
        parts.append(layer)
        fills.append(fill)
    if size is None:
        raise ValueError("expected matrices, couplings or masked autoregressive transforms, received none")
    flow = Flow(Chain(parts), base=Normal(), name="nflows")
    flow.build((None, size) if context is None else {"x": (None, size), "context": (None, context)})
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
        raise ValueError(f"{first}: expected permutations, matrices, couplings or masked networks")
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
    biases[:, 2 * bins :] -= SLOPE_OF_ONE
    network = Masked(network.kernels, [*network.biases[:-1], biases.reshape(-1)], network.masks)
    return masked_layer(name, network, order, RationalQuadratic(bins, bound=bound), activation)
