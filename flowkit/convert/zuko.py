"""Autoregressive flows and couplings of zuko."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from flowkit.bijectors import Chain
from flowkit.convert.files import check_log_prob, read_variables
from flowkit.convert.inventory import (
    as_arrays,
    check_inventory,
    check_none_is_left_out,
    linear_shapes,
    most_common,
)
from flowkit.convert.masked import Masked, coupling_layer, masked_layer
from flowkit.distributions import Normal
from flowkit.flow.flow import Flow
from flowkit.transforms import ScaleShift, SoftClippedSpline

_LAYER = "transform.transforms."
_BASES = (("base.loc", "base.scale"), ("base._0", "base._1"))  # the other is an UnconditionalDistribution's


def from_zuko(
    variables: Mapping[str, Any] | str | Path,
    *,
    activation: str = "relu",
    bound: float | None = None,
    least: float = 1e-3,
    check: Mapping[str, Any] | str | Path | None = None,
) -> Flow:
    """Return a `Flow` with the weights of a `MAF`, `NSF`, `NICE` or `RealNVP` of zuko: a state dict, or a file of one.

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
    """Return a layer, and the function that fills it."""
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


def layer_names(arrays: dict[str, np.ndarray]) -> list[str]:
    """Return the names of the layers, in order, of a MAF, NSF, NICE or RealNVP.

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
    """Return the numbers of the linear layers of a network; between them there are activations."""
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
    """Return name -> shape of everything in the state dict."""
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
    """Return how many entries the network sees."""
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
