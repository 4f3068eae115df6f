"""What the state dict of a flow of zuko should hold."""

import re

import numpy as np

from flowkit.convert.inventory import check_inventory, check_none_is_left_out, linear_shapes, most_common

_LAYER = "transform.transforms."
_BASES = (("base.loc", "base.scale"), ("base._0", "base._1"))  # the other is an UnconditionalDistribution's


def layer_names(arrays: dict[str, np.ndarray]) -> list[str]:
    """The names of the layers, in order, once all weights are known to be those of a MAF, NSF, NICE or RealNVP.

    Raises ValueError that names what is missing, mis-shaped, too much or not finite.
    """
    numbers = {int(found[1]) for name in arrays if (found := re.match(re.escape(_LAYER) + r"(\d+)\.", name))}
    if not numbers:
        shown = ", ".join(list(arrays)[:3]) or "none"
        raise ValueError(f"expected variables such as {_LAYER}0.hyper.0.weight, received {shown}")
    names = [f"{_LAYER}{number}" for number in sorted(numbers)]
    check_inventory(arrays, _expected(arrays, names))
    check_none_is_left_out(numbers, _LAYER)
    for name in names:
        _check_entries(name, arrays)
    for loc, scale in _BASES:
        if loc in arrays and (np.any(arrays[loc] != 0) or np.any(arrays[scale] != 1)):
            raise ValueError(f"{loc}: expected the standard normal, received another mean or deviation")
    return names


def linear_places(name: str, arrays: dict[str, np.ndarray]) -> list[int]:
    """The numbers of the linear layers of a network; between them there are activations."""
    prefix = f"{name}.hyper."
    kinds = "weight|bias" if f"{name}.mask" in arrays else "weight|bias|mask"
    found = {
        key: re.fullmatch(rf"(\d+)\.({kinds})", key.removeprefix(prefix))
        for key in arrays
        if key.startswith(prefix)
    }
    odd = [key for key, match in found.items() if match is None]
    if odd:
        raise ValueError(
            f"{odd[0]}: expected networks of linear layers, without residual blocks or normalisation"
        )
    places = sorted({int(match[1]) for match in found.values() if match})
    if not places:
        raise ValueError(f"{prefix}0.weight: missing, expected a network of linear layers")
    if len(places) == 1:
        raise ValueError(
            f"{prefix}{places[0]}: expected a network with hidden layers, received a linear map alone"
        )
    return places


def _expected(arrays, names):
    """Name -> shape of everything in the state dict."""
    kinds = {}
    for name in names:
        kinds[name] = "mask" if f"{name}.mask" in arrays else "order"
        if f"{name}.{kinds[name]}" not in arrays:
            raise ValueError(
                f"{name}: expected its order, as of a MAF or NSF of zuko, or its mask, as of a NICE or RealNVP, "
                "received neither"
            )
    base = [key for pair in _BASES if set(pair) & set(arrays) for key in pair]
    given = [
        arrays[key].shape
        for key in (*(f"{name}.{kind}" for name, kind in kinds.items()), *base)
        if key in arrays
    ]
    size = most_common([shape[0] for shape in given if len(shape) == 1], f"{names[0]}.order, a vector")
    shapes = dict.fromkeys(base, (size,))
    seen = {name: _seen(arrays[f"{name}.{kind}"], kind, size) for name, kind in kinds.items()}
    widths = [
        arrays[first].shape[1] - seen[name]
        for name in names
        for kind in ("weight", "mask")
        if (first := f"{name}.hyper.{linear_places(name, arrays)[0]}.{kind}") in arrays
        and arrays[first].ndim == 2
    ]
    context = max(0, most_common(widths, f"{names[0]}.hyper.0.weight, a matrix"))
    for name, kind in kinds.items():
        shapes[f"{name}.{kind}"] = (size,)
        shapes |= linear_shapes(
            arrays,
            [f"{name}.hyper.{place}" for place in linear_places(name, arrays)],
            ("weight", "bias") if kind == "mask" else ("weight", "bias", "mask"),
            inputs=seen[name] + context,
            outputs_of=max(1, size - seen[name]) if kind == "mask" else size,
        )
    return shapes


def _seen(array, kind, size):
    """How many entries the network sees."""
    return int(np.sum(array.astype(bool))) if kind == "mask" and array.dtype.kind in "biuf" else size


def _check_entries(name, arrays):
    if f"{name}.mask" in arrays:
        if len(set(arrays[f"{name}.mask"].astype(bool).tolist())) < 2:
            raise ValueError(f"{name}.mask: expected entries that are kept and entries that are moved")
        return
    rank = arrays[f"{name}.order"]
    if sorted(rank.tolist()) != list(range(len(rank))):
        raise ValueError(
            f"{name}.order: expected a permutation, as without `passes`, received {rank.tolist()}"
        )
