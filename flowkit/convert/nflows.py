"""Autoregressive flows and couplings of nflows."""

import re
from collections.abc import Mapping
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np

from flowkit.bijectors import Chain, Permute
from flowkit.convert.files import read_variables
from flowkit.convert.inventory import as_arrays
from flowkit.convert.masked import Masked, masked_layer
from flowkit.convert.nflows_parts import SLOPE_OF_ONE, coupling_layer, is_linear, linear_layer, spline
from flowkit.distributions import Normal
from flowkit.flows.flow import Flow
from flowkit.transforms import ScaleShift

_LEAST_BINS = 4  # of 2 a quadratic spline, of 3 a cubic one has as many numbers as a rational-quadratic one


def from_nflows(
    variables: Mapping[str, Any] | str | Path,
    *,
    activation: str = "relu",
    bound: float | None = None,
    bins: int | None = None,
) -> Flow:
    """A `Flow` with the weights of an nflows `Flow`, given as its state dict or the file of one.

    Its base is a `StandardNormal`, its transform a `CompositeTransform`, of others if need be, of

    - permutations; `LULinear`, `QRLinear` and `SVDLinear`, as an `LULinear` of the same matrix;
    - `MaskedAffineAutoregressiveTransform` and `MaskedPiecewiseRationalQuadraticAutoregressiveTransform`, with residual
      blocks, as there by default, or without;
    - `AdditiveCouplingTransform`, `AffineCouplingTransform` and `PiecewiseRationalQuadraticCouplingTransform` whose
      network is a `ResidualNet`, with a context or without, `apply_unconditional_transform` or not.

    So is the arrangement of Neural Spline Flows (2019). Sizes follow from names and shapes. What the weights do not
    tell are arguments: the `activation` of the networks, and, None if there are no splines, `bound` and `bins`, which
    are there `tail_bound` and `num_bins`. Tails are linear. `bins` is asked since weights do not say of which kind a
    spline is: 11 numbers are those of a rational-quadratic one of 4 bins, and of a quadratic one of 6. With it another
    kind has too few or too many, and is refused. Of fewer than 4 bins that would not be so, and they are refused.

    The densities and latents are those of nflows, and samples of the same latents. Raises ValueError that names what
    cannot be expressed: other transforms and networks, batch norm, and of masked networks a context (there it does not
    reach the first entry, here it must); and for splines without `bound` and `bins`, or with another number of bins.

    >>> from_nflows({"_transform._transforms.0.weight": np.zeros(3)})
    Traceback (most recent call last):
    ...
    ValueError: _transform._transforms.0.weight: expected permutations, matrices, couplings or masked networks
    """
    if bins is not None and not (isinstance(bins, Integral) and bins >= _LEAST_BINS):
        raise ValueError(
            f"bins: expected a whole number, {_LEAST_BINS} or more, received {bins!r}. Of fewer bins splines "
            "of other kinds have as many parameters, so that one could be taken for another"
        )
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
        if is_linear(own):
            size = len(own["bias"])
            made, fill = linear_layer(name, own)
        elif "transform_features" in own:
            size = len(own["identity_features"]) + len(own["transform_features"])
            gate = own.get("transform_net.blocks.0.context_layer.weight")
            context = context if gate is None else gate.shape[1]
            made, fill = coupling_layer(name, own, activation, bound, bins)
        else:
            network = _network(name, own)
            size = network.kernels[0].shape[1]
            layer, fill = _layer(name, network, size, activation, bound, bins)
            made = [layer]
        parts += made
        fills.append(fill)
    if size is None:
        raise ValueError("expected matrices, couplings or masked autoregressive transforms, received none")
    flow = Flow(Chain(parts), base=Normal(), name="nflows")
    flow.build((None, size) if context is None else {"x": (None, size), "context": (None, context)})
    for fill in fills:
        fill()
    return flow


def _network(name, own):
    """The masked network of a layer, of plain layers or of residual blocks."""
    residual = "autoregressive_net.blocks.0.linear_layers.0.weight" in own
    each = ("linear_layers.0", "linear_layers.1") if residual else ("linear",)
    blocks = sum(key.endswith(f".{each[0]}.weight") for key in own)
    linear = ["initial_layer", *(f"blocks.{j}.{one}" for j in range(blocks) for one in each), "final_layer"]
    known = {
        f"autoregressive_net.{layer}.{kind}"
        for layer in linear
        for kind in ("weight", "bias", "mask", "degrees")
    }
    odd = sorted(set(own) - known)
    if odd:
        first = f"{name}.{odd[0]}"
        if "batch_norm" in odd[0] or "context_layer" in odd[0]:
            raise ValueError(f"{first}: expected masked networks without batch norm and context")
        raise ValueError(f"{first}: expected permutations, matrices, couplings or masked networks")
    kinds = ("weight", "bias", "mask")
    layers = ([own[f"autoregressive_net.{layer}.{kind}"] for layer in linear] for kind in kinds)
    return Masked(*layers, blocks=residual)


def _layer(name, network, size, activation, bound, bins):
    order, parameters = np.arange(size), len(network.biases[-1]) // size
    if parameters == 2:  # there the scale comes first
        return masked_layer(name, network, order, ScaleShift("softplus"), activation, places=[1, 0])
    transform = spline(name, parameters, bound, bins)
    biases = network.biases[-1].astype("float64").reshape(size, parameters)
    biases[:, 2 * transform.bins :] -= SLOPE_OF_ONE
    all_biases = [*network.biases[:-1], biases.reshape(-1)]
    network = Masked(network.kernels, all_biases, network.masks, network.blocks)
    return masked_layer(name, network, order, transform, activation)
