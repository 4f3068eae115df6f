"""Couplings and matrices of nflows."""

import math
import re
from collections.abc import Callable

import numpy as np

from flowkit.bijectors import Coupling, LULinear, OnColumns, Pointwise
from flowkit.bijectors.conv1x1 import plu
from flowkit.bijectors.weights import FLOOR, raw_scale
from flowkit.conditioners import ResidualMLP
from flowkit.transforms import Additive, RationalQuadratic, ScaleShift, Transform

SLOPE_OF_ONE = math.log(math.expm1(1 - 1e-3))  # what flowkit adds to raw slopes, and nflows does not
_CDF = tuple(f"unconditional_transform.unnormalized_{kind}" for kind in ("widths", "heights", "derivatives"))

Own = dict[str, np.ndarray]
Made = tuple[list, Callable[[], None]]


def blocks_of(own: Own, network: str) -> int:
    """Return how many blocks a network has."""
    found = [re.match(re.escape(network) + r"\.blocks\.(\d+)\.", key) for key in own]
    return 1 + max((int(match[1]) for match in found if match), default=-1)


def linear_layer(name: str, own: Own) -> Made:
    """Return an `LULinear` with the matrix of nflows' LULinear, QRLinear or SVDLinear, and a function that fills it.

    Theirs multiplies columns, ours rows: it is theirs transposed, factored anew. Raises ValueError for a matrix that
    has a pivot below 1e-3, which ours cannot have.
    """
    size = len(own["bias"])
    lower, upper, permutation = np.eye(size), np.eye(size), np.eye(size)
    if "unconstrained_upper_diag" in own:
        their_lower, their_upper = np.eye(size), np.zeros((size, size))
        their_lower[np.tril_indices(size, -1)] = own["lower_entries"]
        their_upper[np.triu_indices(size, 1)] = own["upper_entries"]
        diagonal = _softplus(own["unconstrained_upper_diag"]) + 1e-3
        # (L U)^T = (U^T D^-1) (D L^T), with D the diagonal of U: no pivot is smaller than theirs.
        lower = np.tril((their_upper / diagonal[:, None]).T, -1) + np.eye(size)
        upper = diagonal[:, None] * their_lower.T
    else:
        permutation, lower, upper = plu(_matrix(own, size).T)
    pivots = np.diag(upper)
    if np.abs(pivots).min() <= FLOOR:
        raise ValueError(
            f"{name}: expected a matrix with pivots above {FLOOR}, received one with {np.abs(pivots).min():g}"
        )
    layer = LULinear(bias=True)

    def fill():
        layer.lower.assign(np.tril(lower, -1))
        layer.upper.assign(np.triu(upper, 1))
        layer.raw.assign(raw_scale(np.abs(pivots)))
        layer.permutation.assign(permutation)
        layer.sign.assign(np.sign(pivots))
        layer.bias.assign(own["bias"])

    return [layer], fill


def _matrix(own, size):
    """Return the matrix that columns are multiplied with: Q R, or U S V."""
    if "log_upper_diag" in own:
        upper = np.diag(np.exp(own["log_upper_diag"].astype("float64")))
        upper[np.triu_indices(size, 1)] = own["upper_entries"]
        return _reflected(own["orthogonal.q_vectors"]) @ upper
    diagonal = _softplus(own["unconstrained_diagonal"]) + 1e-3
    first, second = (_reflected(own[f"orthogonal_{which}.q_vectors"]) for which in (1, 2))
    return first @ np.diag(diagonal) @ second


def _reflected(vectors):
    """Return the matrix of reflections one after another, the first vector's first."""
    matrix = np.eye(vectors.shape[1])
    for v in vectors.astype("float64"):
        matrix = matrix - np.outer(v, v @ matrix) * (2 / (v @ v))
    return matrix


def _softplus(x):
    return np.logaddexp(0, x.astype("float64"))


def spline(name: str, numbers: int, bound: float | None, bins: int | None) -> RationalQuadratic:
    """Return the spline of a layer with `numbers` parameters for each entry.

    Raises ValueError, with the name, if `bound` or `bins` is None, and for another number than a rational-quadratic
    spline with linear tails has: another kind of spline of as many bins, if they are 4 or more, has fewer or more.
    """
    if bound is None or bins is None:
        raise ValueError(
            f"{name}: expected 1 or 2 parameters for each entry, received {numbers}. For splines pass bound=, their "
            "tail_bound, and bins=, their num_bins, which the weights do not tell: 11 parameters are those of a "
            "rational-quadratic spline of 4 bins, and of a quadratic one of 6"
        )
    if numbers != 3 * bins - 1:
        raise ValueError(
            f"{name}: expected rational-quadratic splines with linear tails, of {bins} bins and so 3 * {bins} - 1 = "
            f"{3 * bins - 1} parameters for each entry, received {numbers}. Splines of another kind do not convert; "
            "if these are of that kind, pass their num_bins as bins="
        )
    return RationalQuadratic(bins, bound=bound)


def coupling_layer(name: str, own: Own, activation: str, bound: float | None, bins: int | None) -> Made:
    """Return a `Coupling` by a residual network, the splines of what it keeps, and a function that fills them.

    Raises ValueError, with the name, for transforms that are neither additive nor affine nor, given `bound` and `bins`,
    rational-quadratic splines with linear tails.
    """
    kept = own["identity_features"]
    size = len(kept) + len(own["transform_features"])
    network = {
        key.removeprefix("transform_net."): own[key] for key in own if key.startswith("transform_net.")
    }
    blocks = blocks_of(own, "transform_net")
    gated = "blocks.0.context_layer.weight" in network
    layers = [f"blocks.{j}.linear_layers.{k}" for j in range(blocks) for k in (0, 1)]
    gates = [f"blocks.{j}.context_layer" for j in range(blocks)] if gated else []
    moved, width = own["transform_features"], len(network["initial_layer.bias"])
    count = len(network["final_layer.bias"]) // len(moved)
    transform = _transform(name, count, bound, bins)
    last = _dealt(network["final_layer.weight"].astype("float64"), len(moved), transform)
    shift = _dealt(network["final_layer.bias"].astype("float64"), len(moved), transform)
    if isinstance(transform, RationalQuadratic):
        for raw in (last, shift):  # there softmaxes are of what the network says by the root of its width
            raw[:, : 2 * transform.bins] /= math.sqrt(width)
        shift[:, 2 * transform.bins :] -= SLOPE_OF_ONE
    conditioner = ResidualMLP(
        width,
        blocks=blocks,
        activation=activation,
        context="required" if gated else "none",
        gated=gated,
        activate_last=False,
    )
    mask = np.zeros(size, bool)
    mask[kept] = True
    parts: list = [Coupling(conditioner, transform, split=mask)]
    splines = None
    if _CDF[0] in own:
        widths, heights, slopes = (own[key].astype("float64") for key in _CDF)
        numbers = sum(array.shape[-1] for array in (widths, heights, slopes))
        splines = Pointwise(spline(f"{name}.unconditional_transform", numbers, bound, bins))
        parts.append(OnColumns(splines, mask.tolist()))
        raw_splines = np.concatenate([widths, heights, slopes - SLOPE_OF_ONE], axis=-1).T

    def fill():
        first = network["initial_layer.weight"].T
        seen = np.zeros((size, width))
        seen[kept] = first[: len(kept)]
        whole, offsets = np.zeros((size, count, width)), np.zeros((size, count))
        whole[moved], offsets[moved] = last, shift
        conditioner.hidden_layers[0].kernel.assign(seen)
        conditioner.hidden_layers[0].bias.assign(network["initial_layer.bias"])
        for dense, layer in zip(conditioner.hidden_layers[1:], layers, strict=True):
            dense.kernel.assign(network[f"{layer}.weight"].T)
            dense.bias.assign(network[f"{layer}.bias"])
        conditioner.last.kernel.assign(whole.reshape(-1, width).T)
        conditioner.last.bias.assign(offsets.reshape(-1))
        if gated:
            conditioner.bias.kernel.assign(first[len(kept) :])
        for gate, bias, layer in zip(conditioner.gates, conditioner.gate_biases, gates, strict=True):
            gate.kernel.assign(network[f"{layer}.weight"].T)
            bias.assign(network[f"{layer}.bias"])
        if splines is not None:
            splines.raw.assign(raw_splines)

    return parts, fill


def _transform(name, count, bound, bins) -> Transform:
    if count == 1:
        return Additive()
    if count == 2:
        return ScaleShift("sigmoid")
    return spline(name, count, bound, bins)


def _dealt(raw, entries, transform):
    """Return the network's last weights as (entries, parameters, ...): of affine couplings all shifts come first."""
    if isinstance(transform, RationalQuadratic):
        return raw.reshape(entries, transform.parameters, *raw.shape[1:]).copy()
    return np.moveaxis(raw.reshape(transform.parameters, entries, *raw.shape[1:]), 0, 1).copy()
