"""Autoregressive flows and couplings of nflows."""

import re
from collections.abc import Mapping
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np

from flowkit.bijectors import Chain, Permute
from flowkit.convert.files import check_log_prob, read_variables
from flowkit.convert.inventory import (
    as_arrays,
    check_inventory,
    check_none_is_left_out,
    linear_shapes,
    most_common,
)
from flowkit.convert.masked import Masked, masked_layer
from flowkit.convert.nflows_parts import SLOPE_OF_ONE, Own, blocks_of, coupling_layer, linear_layer, spline
from flowkit.distributions import Normal
from flowkit.flow.flow import Flow
from flowkit.transforms import ScaleShift

_LEAST_BINS = 4  # of 2 a quadratic spline, of 3 a cubic one has as many numbers as a rational-quadratic one
Place = tuple[int, ...]
_MATRICES = {  # what each has beside its bias, and the lengths of its vectors: one for each entry, or each pair
    "lu": {"unconstrained_upper_diag": 1, "lower_entries": 2, "upper_entries": 2},
    "qr": {"log_upper_diag": 1, "upper_entries": 2, "orthogonal.q_vectors": 0},
    "svd": {"unconstrained_diagonal": 1, "orthogonal_1.q_vectors": 0, "orthogonal_2.q_vectors": 0},
}
_OTHERS = "expected permutations, matrices, couplings or masked networks"
_CDF = "unconditional_transform.unnormalized_"


def from_nflows(
    variables: Mapping[str, Any] | str | Path,
    *,
    activation: str = "relu",
    bound: float | None = None,
    bins: int | None = None,
    check: Mapping[str, Any] | str | Path | None = None,
) -> Flow:
    """Return a `Flow` with the weights of an nflows `Flow`, given as its state dict or the file of one.

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
    """Return the masked network of a layer, of plain layers or of residual blocks."""
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


def name_of(place: Place) -> str:
    """Return the name of the layer at a place, as the state dict has it.

    >>> name_of((2, 0))
    '_transform._transforms.2._transforms.0'
    """
    return "._transforms.".join(["_transform", *map(str, place)])


def kind_of(own: Own) -> str:
    """Return what a layer is: "permutation", "lu", "qr", "svd", "coupling", "masked", or "" for another one."""
    if "_permutation" in own:
        return "permutation"
    if any(key.startswith("autoregressive_net.") for key in own):
        return "masked"
    if any(key.startswith(("transform_net.", "identity_features", "transform_features")) for key in own):
        return "coupling"
    for kind, vectors in _MATRICES.items():
        if set(own) & (set(vectors) - {"upper_entries"}):
            return kind
    return ""


def masked_layers(own: Own) -> list[str]:
    """Return the names of the linear layers of a masked network, in order."""
    net, blocks = "autoregressive_net", blocks_of(own, "autoregressive_net")
    each = ("linear_layers.0", "linear_layers.1") if is_residual(own) else ("linear",)
    inner = [f"{net}.blocks.{j}.{one}" for j in range(blocks) for one in each]
    return [f"{net}.initial_layer", *inner, f"{net}.final_layer"]


def is_residual(own: Own) -> bool:
    """Return True for a masked network of residual blocks."""
    return any(".linear_layers." in key for key in own)


def check_groups(groups: dict[Place, Own], others: Own) -> None:
    """Raise ValueError that names what is missing, mis-shaped, too much or not finite.

    `groups` holds what each layer has, by its place; `others` is what belongs to none.
    """
    for place, own in groups.items():
        if not kind_of(own):
            raise ValueError(f"{name_of(place)}.{next(iter(own))}: {_OTHERS}")
    size = most_common(
        [n for own in groups.values() for n in _sizes(own)], "layers that tell the number of features"
    )
    gates = [
        array for own in groups.values() for key, array in own.items() if key.endswith("context_layer.weight")
    ]
    widths = [array.shape[1] for array in gates if array.ndim == 2]
    context = most_common(widths, "a context_layer.weight, a matrix") if gates else 0
    arrays, expected = dict(others), dict.fromkeys(others, ())
    for place, own in groups.items():
        name = name_of(place)
        arrays |= {f"{name}.{key}": array for key, array in own.items()}
        expected |= {f"{name}.{key}": shape for key, shape in _expected(name, own, size, context).items()}
    check_inventory(arrays, expected)
    for parent in {place[:-1] for place in groups if place}:
        children = {
            place[len(parent)] for place in groups if place[: len(parent)] == parent and place != parent
        }
        check_none_is_left_out(children, f"{name_of(parent)}._transforms.")
    for place, own in groups.items():
        _check_indices(name_of(place), own)


def _sizes(own):
    """Return what the weights of a layer say of the number of features."""
    vectors = {"permutation": ["_permutation"], "masked": []}.get(kind := kind_of(own), ["bias"])
    if kind == "coupling":
        parts = [own[key].shape for key in ("identity_features", "transform_features") if key in own]
        return [sum(shape[0] for shape in parts)] if [len(shape) for shape in parts] == [1, 1] else []
    first = [own.get(f"autoregressive_net.initial_layer.{kind}") for kind in ("weight", "mask")]
    return [
        *(own[key].shape[0] for key in vectors if key in own and own[key].ndim == 1),
        *(array.shape[1] for array in first if array is not None and array.ndim == 2),
    ]


def _expected(name, own, size, context):
    """Return name -> shape of the weights of a layer."""
    kind = kind_of(own)
    if kind == "permutation":
        return {"_permutation": (size,)}
    if kind in _MATRICES:
        lengths = {1: (size,), 2: (size * (size - 1) // 2,)}
        reflections = {
            key: (len(own[key]) if key in own and own[key].ndim else size, size) for key in _MATRICES[kind]
        }
        return {"bias": (size,)} | {
            key: lengths.get(power, reflections[key]) for key, power in _MATRICES[kind].items()
        }
    if kind == "coupling":
        return _coupling(name, own, size, context)
    return _masked(name, own, size)


def _masked(name, own, size):
    layers = masked_layers(own)
    kinds = ("weight", "bias", "mask")
    known = {f"{layer}.{kind}" for layer in layers for kind in (*kinds, "degrees")}
    odd = sorted(set(own) - known)
    if odd and ("batch_norm" in odd[0] or "context_layer" in odd[0]):
        raise ValueError(f"{name}.{odd[0]}: expected masked networks without batch norm and context")
    if odd:
        raise ValueError(f"{name}.{odd[0]}: {_OTHERS}")
    if len(layers) == 2:  # nflows activates the first layer of plain blocks, and not that of residual ones
        raise ValueError(
            f"{name}: expected a masked network with blocks, received one of no blocks: its weights do not tell "
            "whether an activation follows its first layer"
        )
    shapes = linear_shapes(own, layers, kinds, inputs=size, outputs_of=size)
    # Degrees, which the masks repeat, may be left out.
    return shapes | {key: shapes[f"{layer}.bias"] for layer in layers if (key := f"{layer}.degrees") in own}


def _coupling(name, own, size, context):
    net, blocks = "transform_net", blocks_of(own, "transform_net")
    gated = any("context_layer" in key for key in own)
    layers = [f"{net}.blocks.{j}.linear_layers.{k}" for j in range(blocks) for k in (0, 1)]
    gates = [f"{net}.blocks.{j}.context_layer" for j in range(blocks)] if gated else []
    known = {
        f"{layer}.{kind}"
        for layer in (f"{net}.initial_layer", *layers, *gates, f"{net}.final_layer")
        for kind in ("weight", "bias")
    }
    splines = {f"{_CDF}{kind}" for kind in ("widths", "heights", "derivatives")}
    odd = sorted(set(own) - known - splines - {"identity_features", "transform_features"})
    if odd or not blocks:
        received = f"{name}.{odd[0]}" if odd else "one of no blocks"
        raise ValueError(
            f"{name}: expected a coupling by a ResidualNet without batch norm, received {received}"
        )
    moved = size // 2
    if "transform_features" in own:
        moved = own["transform_features"].size
    elif "identity_features" in own:
        moved = size - own["identity_features"].size
    moved = max(1, min(size - 1, moved))
    kept = size - moved
    shapes = {"identity_features": (kept,), "transform_features": (moved,)}
    shapes |= linear_shapes(
        own,
        [f"{net}.initial_layer", *layers, f"{net}.final_layer"],
        inputs=kept + (context if gated else 0),
        outputs_of=moved,
    )
    width = shapes[f"{net}.initial_layer.bias"][0]
    for gate in gates:
        shapes |= {f"{gate}.weight": (width, context), f"{gate}.bias": (width,)}
    if splines & set(own):
        fewer = {key: int(key.endswith("derivatives")) for key in splines}  # of the slopes, those inside
        bins = most_common(
            [own[key].shape[-1] + fewer[key] for key in splines if key in own and own[key].ndim], "bins"
        )
        shapes |= {key: (kept, bins - fewer[key]) for key in splines}
    return shapes


def _check_indices(name, own):
    for keys in (("_permutation",), ("identity_features", "transform_features")):
        if set(keys) <= set(own):
            indices = np.concatenate([own[key] for key in keys]).tolist()
            if sorted(indices) != list(range(len(indices))):
                raise ValueError(f"{name}.{keys[0]}: expected each entry once, received {indices}")
