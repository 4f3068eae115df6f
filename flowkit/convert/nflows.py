"""Autoregressive flows and couplings of nflows."""

import re
from collections.abc import Mapping
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np

from flowkit.bijectors import Chain, Permute
from flowkit.convert.files import check_log_prob, read_variables
from flowkit.convert.inventory import as_arrays
from flowkit.convert.masked import Masked, masked_layer
from flowkit.convert.nflows_inventory import (
    Own,
    Place,
    check_groups,
    is_residual,
    kind_of,
    masked_layers,
    name_of,
)
from flowkit.convert.nflows_parts import SLOPE_OF_ONE, coupling_layer, linear_layer, spline
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
    check: Mapping[str, Any] | str | Path | None = None,
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
    reach the first entry, here it must); for splines without `bound` and `bins`, or with another number of bins; and
    weights that are missing, of another shape, unknown or not finite. What has no weights, as a sigmoid, is in no state
    dict: between other transforms it is refused, after the last one nothing tells of it.

    A wrong argument gives a flow of other densities. `check`, {"rows": ..., "log_prob": ...} with `context` if there is
    one, or an .npz file of these, compares: ValueError with the largest difference.

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
    groups: dict[Place, Own] = {}
    others: Own = {}
    for name, array in arrays.items():
        found = re.fullmatch(r"_transform((?:\._transforms\.\d+)*)\.(.+)", name)
        if found is not None:
            groups.setdefault(tuple(map(int, re.findall(r"\d+", found[1]))), {})[found[2]] = array
        elif name == "_distribution._log_z":
            others[name] = array
        else:
            raise ValueError(f"{name}: expected a CompositeTransform and a StandardNormal")
    check_groups(groups, others)
    parts, fills = [], []
    size = context = None
    for place in sorted(groups):
        name, own = name_of(place), groups[place]
        kind = kind_of(own)
        if kind == "permutation":
            parts.append(Permute(own["_permutation"].tolist()))
            continue
        if kind == "coupling":
            size = len(own["identity_features"]) + len(own["transform_features"])
            gate = own.get("transform_net.blocks.0.context_layer.weight")
            context = context if gate is None else gate.shape[1]
            made, fill = coupling_layer(name, own, activation, bound, bins)
        elif kind == "masked":
            network = _network(own)
            size = network.kernels[0].shape[1]
            layer, fill = _layer(name, network, size, activation, bound, bins)
            made = [layer]
        else:
            size = len(own["bias"])
            made, fill = linear_layer(name, own)
        parts += made
        fills.append(fill)
    if size is None:
        raise ValueError("expected matrices, couplings or masked autoregressive transforms, received none")
    flow = Flow(Chain(parts), base=Normal(), name="nflows")
    flow.build((None, size) if context is None else {"x": (None, size), "context": (None, context)})
    for fill in fills:
        fill()
    return check_log_prob(flow, check)


def _network(own):
    """The masked network of a layer, of plain layers or of residual blocks."""
    kinds = ("weight", "bias", "mask")
    layers = ([own[f"{layer}.{kind}"] for layer in masked_layers(own)] for kind in kinds)
    return Masked(*layers, blocks=is_residual(own))


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
