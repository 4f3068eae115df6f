"""Autoregressive flows and couplings of nflows."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import linalg

from flowkit.bijectors import LULinear, OnColumns, Permute, Pointwise
from flowkit.bijectors.linear import FLOOR
from flowkit.conditioners import ResidualMLP
from flowkit.contract.arguments import whole_number
from flowkit.convert.networks import coupling_layer, masked_layer
from flowkit.convert.weights import Weights
from flowkit.flow.flow import Flow
from flowkit.transforms import Additive, RationalQuadratic, ScaleShift

_LEAST_BINS = 4  # of 2 a quadratic spline, of 3 a cubic one has as many numbers as a rational-quadratic one
_SLOPE_OF_ONE = math.log(math.expm1(1 - 1e-3))  # flowkit adds it to raw slopes, nflows does not
_DIAGONALS = ("unconstrained_upper_diag", "log_upper_diag", "unconstrained_diagonal")  # of LU, QR and SVD


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
    ValueError: _transform._transforms.0.weight: got no known layer, expected permutations, matrices, couplings or \
masked networks.
    """
    if bins is not None:
        whole_number(bins, "bins", least=_LEAST_BINS)
    port = _Port(Weights(variables), activation, bound, bins)
    weights = port.weights
    if "_distribution._log_z" in weights:
        weights.take("_distribution._log_z", ())
    parts: list = []
    for name in _layers(weights, "_transform"):
        if f"{name}._permutation" in weights:
            (order,) = _indices(port, f"{name}._permutation")
            parts.append(Permute(order.tolist()))
        elif weights.first(f"{name}.autoregressive_net."):
            parts.append(_masked(port, name))
        elif f"{name}.identity_features" in weights or f"{name}.transform_features" in weights:
            parts += _coupling(port, name)
        else:
            parts.append(_matrix(port, name))
    if all(isinstance(part, Permute) for part in parts):
        raise ValueError("from_nflows: got permutations, expected matrices, couplings or masked networks.")
    return weights.as_flow("nflows", parts, port.size, port.context, check)


@dataclass
class _Port:
    """The weights, the arguments, and the numbers of entries and of the context once a layer tells them."""

    weights: Weights
    activation: str
    bound: float | None
    bins: int | None
    size: int | None = None
    context: int | None = None


def _layers(weights, name):
    """Yield the names of the layers of a transform, in order, also of those in a composite one."""
    numbers = weights.numbers(f"{name}._transforms.")
    for number in numbers:
        yield from _layers(weights, f"{name}._transforms.{number}")
    if not numbers:
        yield name


def _indices(port, *names):
    """Return arrays of indices. Raise ValueError unless together they hold each entry once."""
    arrays = [port.weights.take(name, (None,)) for name in names]
    indices = np.concatenate(arrays).tolist()
    port.size = port.size or len(indices)
    if sorted(indices) != list(range(port.size)):
        raise ValueError(f"{names[0]}: got {indices}, expected each entry once.")
    return arrays


def _blocks(weights, name):
    """Return the names of the blocks of a network. Raise ValueError for none."""
    numbers = weights.numbers(f"{name}.blocks.")
    if not numbers:  # it depends on the kind of the blocks if an activation follows the first layer
        raise ValueError(f"{name}: got a network of no blocks, expected one with blocks.")
    return [f"{name}.blocks.{number}" for number in numbers]


def _masked(port, name):
    """Return an autoregressive layer."""
    weights, net = port.weights, f"{name}.autoregressive_net"
    blocks = _blocks(weights, net)
    residual = weights.first(f"{blocks[0]}.linear_layers.") is not None
    inner = ("linear_layers.0", "linear_layers.1") if residual else ("linear",)
    layers = [
        f"{net}.initial_layer",
        *(f"{block}.{one}" for block in blocks for one in inner),
        f"{net}.final_layer",
    ]
    kernels, biases, masks = weights.network(layers, port.size, port.size, "mask")
    for layer, bias in zip(layers, biases, strict=True):
        if f"{layer}.degrees" in weights:  # which the masks repeat
            weights.take(f"{layer}.degrees", bias.shape)
    size = port.size = kernels[0].shape[1]
    transform, places = ScaleShift("softplus"), [1, 0]  # there the scale comes first
    count = len(biases[-1]) // size
    if count != 2:
        transform, places = _spline(port, name, count), None
        raw = biases[-1].astype("float64").reshape(size, count)
        _shift_slopes(raw, transform)
        biases[-1] = raw.reshape(-1)
    network = kernels, biases, masks
    return masked_layer(name, network, np.arange(size), transform, port.activation, places, residual)


def _coupling(port, name):
    """Return the layers of a coupling."""
    kept, moved = _indices(port, f"{name}.identity_features", f"{name}.transform_features")
    weights, net = port.weights, f"{name}.transform_net"
    blocks = _blocks(weights, net)
    gates = [f"{block}.context_layer" for block in blocks if f"{blocks[0]}.context_layer.weight" in weights]
    if gates:
        port.context = weights.take(f"{gates[0]}.weight", (None, port.context)).shape[1]
    inner = [f"{block}.linear_layers.{k}" for block in blocks for k in (0, 1)]
    inputs = len(kept) + (port.context if gates else 0)
    layers = [f"{net}.initial_layer", *inner, f"{net}.final_layer"]
    kernels, biases = weights.network(layers, inputs, len(moved))
    width, count = len(biases[0]), len(biases[-1]) // len(moved)
    gate_kernels = [weights.take(f"{gate}.weight", (width, port.context)) for gate in gates]
    gate_biases = [weights.take(f"{gate}.bias", (width,)) for gate in gates]
    known = {1: Additive(), 2: ScaleShift("sigmoid")}
    transform = known[count] if count in known else _spline(port, name, count)
    last = [array.astype("float64") for array in (kernels[-1], biases[-1])]
    if count in known:  # first all shifts, then all scales
        last = [array.reshape(count, len(moved), -1).swapaxes(0, 1) for array in last]
    else:
        last = [array.reshape(len(moved), count, -1) for array in last]
        for raw in last:  # there softmaxes are of the network's outputs, divided by the root of its width
            raw[:, : 2 * transform.bins] /= math.sqrt(width)
        _shift_slopes(last[1], transform)
    kernels[-1], biases[-1] = last[0].reshape(-1, width), last[1].reshape(-1)
    conditioner = ResidualMLP(
        width,
        blocks=len(blocks),
        activation=port.activation,
        context="required" if gates else "none",
        gated=bool(gates),
        activate_last=False,
    )
    parts: list = [coupling_layer(conditioner, transform, kept, moved, kernels, biases)]
    for gate, kernel in zip(conditioner.gates, gate_kernels, strict=True):
        gate.kernel.assign(kernel.T)
    for own, bias in zip(conditioner.gate_biases, gate_biases, strict=True):
        own.assign(bias)
    cdf = f"{name}.unconditional_transform"
    if weights.first(f"{cdf}."):
        raw = [
            weights.take(f"{cdf}.unnormalized_{kind}", (len(kept), None)).astype("float64")
            for kind in ("widths", "heights", "derivatives")
        ]
        splines = Pointwise(_spline(port, cdf, sum(array.shape[1] for array in raw)))
        raw_splines = np.concatenate(raw, axis=1)
        _shift_slopes(raw_splines, splines.transform)
        splines.build_for((None, len(kept)))
        splines.raw.assign(raw_splines.T)
        parts.append(OnColumns(splines, np.isin(np.arange(port.size), kept).tolist()))
    return parts


def _spline(port, name, numbers):
    """Return the spline of a layer with `numbers` parameters for each entry.

    Raises ValueError, with the name, if `bound` or `bins` is None, and for another number than a rational-quadratic
    spline with linear tails has: another kind of spline of as many bins, if they are 4 or more, has fewer or more.
    """
    bound, bins = port.bound, port.bins
    if bound is None or bins is None:
        raise ValueError(
            f"{name}: got {numbers} parameters for each entry, expected 1 or 2. For splines pass bound=, their "
            "tail_bound, and bins=, their num_bins, which the weights do not tell: 11 parameters are those of a "
            "rational-quadratic spline of 4 bins, and of a quadratic one of 6."
        )
    if numbers != 3 * bins - 1:
        raise ValueError(
            f"{name}: got {numbers} parameters for each entry, expected rational-quadratic splines with linear tails, "
            f"of {bins} bins and so {3 * bins - 1} parameters. Splines of another kind do not convert; if these are of "
            "that kind, pass their num_bins as bins=."
        )
    return RationalQuadratic(bins, bound=bound)


def _shift_slopes(raw, transform):
    """Subtract from the raw slopes of (entries, parameters, ...) what flowkit adds to them."""
    raw[:, 2 * transform.bins :] -= _SLOPE_OF_ONE


def _matrix(port, name):
    """Return an `LULinear` with the matrix of nflows' LULinear, QRLinear or SVDLinear.

    Theirs multiplies columns, ours rows: it is theirs transposed, factored anew. Raises ValueError for a matrix that
    has a pivot below 1e-3, which ours cannot have.
    """
    weights = port.weights
    kind = next((kind for kind in _DIAGONALS if f"{name}.{kind}" in weights), None)
    if kind is None:
        raise ValueError(
            f"{weights.first(f'{name}.') or name}: got no known layer, expected permutations, matrices, couplings or "
            "masked networks."
        )
    bias = weights.take(f"{name}.bias", (port.size,))
    size = port.size = len(bias)

    def take(key, shape=(size * (size - 1) // 2,)):
        return weights.take(f"{name}.{key}", shape).astype("float64")

    def reflections(key):
        """Return the matrix of reflections one after another, the first vector's first."""
        matrix = np.eye(size)
        for v in take(key, (None, size)):
            matrix = matrix - np.outer(v, v @ matrix) * (2 / (v @ v))
        return matrix

    diagonal = take(kind, (size,))
    diagonal = np.exp(diagonal) if kind == "log_upper_diag" else np.logaddexp(0, diagonal) + 1e-3
    triangle = np.zeros((size, size))
    if kind != "unconstrained_diagonal":
        triangle[np.triu_indices(size, 1)] = take("upper_entries")
    matrix = triangle + np.diag(diagonal)
    if kind == "unconstrained_upper_diag":
        lower = np.eye(size)
        lower[np.tril_indices(size, -1)] = take("lower_entries")
        matrix = lower @ matrix
    elif kind == "log_upper_diag":
        matrix = reflections("orthogonal.q_vectors") @ matrix
    else:
        first, second = (reflections(f"orthogonal_{which}.q_vectors") for which in (1, 2))
        matrix = first @ matrix @ second
    permutation, lower, upper = linalg.lu(matrix.T)
    pivots = np.diag(upper)
    if np.abs(pivots).min() <= FLOOR:
        raise ValueError(
            f"{name}: got a matrix with a pivot of {np.abs(pivots).min():g}, expected pivots above {FLOOR}."
        )
    layer = LULinear(bias=True)
    layer.build_for((None, size))
    layer.assign_factors(permutation, lower, upper)
    layer.bias.assign(bias)
    return layer
