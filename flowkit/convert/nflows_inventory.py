"""What the state dict of a flow of nflows should hold."""

import re

import numpy as np

from flowkit.convert.inventory import check_inventory, check_none_is_left_out, linear_shapes, most_common

Place = tuple[int, ...]
Own = dict[str, np.ndarray]

_MATRICES = {  # what each has beside its bias, and the lengths of its vectors: one for each entry, or each pair
    "lu": {"unconstrained_upper_diag": 1, "lower_entries": 2, "upper_entries": 2},
    "qr": {"log_upper_diag": 1, "upper_entries": 2, "orthogonal.q_vectors": 0},
    "svd": {"unconstrained_diagonal": 1, "orthogonal_1.q_vectors": 0, "orthogonal_2.q_vectors": 0},
}
_OTHERS = "expected permutations, matrices, couplings or masked networks"
_CDF = "unconditional_transform.unnormalized_"


def name_of(place: Place) -> str:
    """The name of the layer at a place, as the state dict has it.

    >>> name_of((2, 0))
    '_transform._transforms.2._transforms.0'
    """
    return "._transforms.".join(["_transform", *map(str, place)])


def kind_of(own: Own) -> str:
    """What a layer is: "permutation", "lu", "qr", "svd", "coupling", "masked", or "" for another one."""
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


def blocks_of(own: Own, network: str) -> int:
    """How many blocks a network has."""
    found = [re.match(re.escape(network) + r"\.blocks\.(\d+)\.", key) for key in own]
    return 1 + max((int(match[1]) for match in found if match), default=-1)


def masked_layers(own: Own) -> list[str]:
    """The names of the linear layers of a masked network, in order."""
    net, blocks = "autoregressive_net", blocks_of(own, "autoregressive_net")
    each = ("linear_layers.0", "linear_layers.1") if is_residual(own) else ("linear",)
    inner = [f"{net}.blocks.{j}.{one}" for j in range(blocks) for one in each]
    return [f"{net}.initial_layer", *inner, f"{net}.final_layer"]


def is_residual(own: Own) -> bool:
    """Whether a masked network is one of residual blocks."""
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
    """What the weights of a layer say of the number of features."""
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
    """Name -> shape of what a layer has."""
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
