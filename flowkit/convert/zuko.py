"""Autoregressive flows and couplings of zuko."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from flowkit.conditioners import MLP
from flowkit.convert.networks import coupling_layer, masked_layer
from flowkit.convert.weights import Weights
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
    ValueError: transform.transforms.0: got no order and no mask, expected the order of zuko's MAF or NSF, or the mask \
of its NICE or RealNVP.
    """
    weights = Weights(variables)
    numbers = weights.numbers(_LAYER)
    if not numbers:
        raise ValueError(
            f"from_zuko: got {weights.first() or 'no variables'}, expected some such as {_LAYER}0.hyper.0.weight."
        )
    size = context = None
    parts = []
    for name in (f"{_LAYER}{number}" for number in numbers):
        size, context, part = _layer(weights, name, size, context, (activation, bound, least))
        parts.append(part)
    for loc, scale in (pair for pair in _BASES if set(pair) & set(weights)):
        if np.any(weights.take(loc, (size,)) != 0) or np.any(weights.take(scale, (size,)) != 1):
            raise ValueError(f"{loc}: got another mean or deviation, expected the standard normal.")
    return weights.as_flow("zuko", parts, size, context, check)


def _layer(weights, name, size, context, options):
    """Return the number of entries, the size of the context, and the layer."""
    activation, bound, least = options
    kind = next((kind for kind in ("mask", "order") if f"{name}.{kind}" in weights), None)
    if kind is None:
        raise ValueError(
            f"{name}: got no order and no mask, expected the order of zuko's MAF or NSF, or the mask of its NICE or "
            "RealNVP."
        )
    entries = weights.take(f"{name}.{kind}", (size,))
    size = len(entries)
    kept, moved = np.flatnonzero(entries), np.flatnonzero(entries == 0)
    if kind == "order":
        kept = moved = np.arange(size)
        if sorted(entries.tolist()) != list(range(size)):
            raise ValueError(
                f"{name}.order: got {entries.tolist()}, expected a permutation, as without `passes`."
            )
    elif not (len(kept) and len(moved)):
        raise ValueError(f"{name}.mask: got equal entries, expected some that are kept and some moved.")
    layers = [f"{name}.hyper.{place}" for place in weights.numbers(f"{name}.hyper.", gaps=True)]
    if len(layers) < 2:
        raise ValueError(
            f"{name}.hyper.0: got {'a linear map' if layers else 'no network'}, expected a network with hidden layers."
        )
    inputs = None if context is None else len(kept) + context
    network = weights.network(layers, inputs, len(moved), *(["mask"] if kind == "order" else []))
    context = network[0][0].shape[1] - len(kept)
    transform = _transform(name, len(network[1][-1]) // len(moved), bound, least)
    if kind == "order":
        part = masked_layer(name, network, np.argsort(entries), transform, activation)
        return size, context, part
    widths = [len(bias) for bias in network[1][:-1]]
    mlp = MLP(widths, activation=activation, context="required" if context else "none")
    return size, context, coupling_layer(mlp, transform, kept, moved, *network)


def _transform(name, parameters, bound, least):
    if bound is None and parameters == 2:
        return ScaleShift("softclip", least=least)
    if bound is not None and parameters % 3 == 2:
        return SoftClippedSpline((parameters + 1) // 3, bound=bound, least=least)
    expected = "2 (for a NSF pass bound=5.0)" if bound is None else "3 K - 1 for K bins"
    raise ValueError(f"{name}: got {parameters} parameters for each entry, expected {expected}.")
