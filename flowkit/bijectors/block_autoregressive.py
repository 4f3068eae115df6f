"""An autoregressive map that is one network, whose weights are masked by blocks."""

import itertools
import math
from typing import Any

import numpy as np
from keras import ops

from flowkit.bijectors.autoregressive import find_fixed_point, find_in_passes
from flowkit.bijectors.conditional import AmortizedBijector
from flowkit.bijectors.linear import scale
from flowkit.bijectors.planar import tanh_residual
from flowkit.bijectors.weights import new_weight
from flowkit.contract import Shape, sum_event
from flowkit.contract.arguments import Blocks, Count
from flowkit.contract.conditioner import Network
from flowkit.engines import engine
from flowkit.numerics import matmul, solve_increasing

LEAK = 0.01
_SPREAD = 3.0  # of the units' offsets at the start: where each of them bends


class BlockAutoregressive(AmortizedBijector):
    """z_i = f_i(x_1, ..., x_i), increasing in x_i: dense layers of `units` for each entry, masked by blocks.

    Units of entry i hear those of entry i by positive weights, and those before by any; between layers each goes
    through tanh(h) + 0.01 h, so that every z has an x: with tanh alone, as published, the image is bounded. log-det is
    the sum of log df_i/dx_i, kept as logarithms through all layers. `depth` is the number of hidden layers. It starts
    near to the identity, at which no entry hears another.

    A density takes one pass. The inverse takes one for each entry, and in each solves for one number, between bounds
    that follow from the least slope that the weights admit; its gradients are exact, for first derivatives.

    A `conditioner` is a network of the context that adds to all biases. Raises TypeError for one that is no network,
    ValueError for a number out of range, ContractError for one that does not return a vector for each sample. De Cao,
    Titov & Aziz, Block Neural Autoregressive Flow (2019).

    >>> z, log_det = BlockAutoregressive(units=4)(ops.ones((4, 3)))
    >>> tuple(z.shape), tuple(log_det.shape)
    ((4, 3), (4,))
    """

    inverse_kind = "iterative"

    def __init__(
        self, units: Count = 8, *, depth: Blocks = 1, conditioner: Network = None, **kwargs: Any
    ) -> None:
        super().__init__(conditioner, **kwargs)
        self.units, self.depth = units, depth

    @property
    def _sizes(self):
        """Return how many units an entry has, from layer to layer."""
        return [1, *[self.units] * self.depth, 1]

    def build(self, x_shape: Shape, context_shape: Shape | None = None) -> None:
        size, sizes = x_shape[-1], self._sizes
        offsets = np.linspace(-_SPREAD, _SPREAD, self.units) if self.units > 1 else np.zeros(1)
        # What makes the mean of the bent units a map of slope 1 at 0.
        self._gain = 1 / float(np.mean(LEAK + 1 / np.cosh(offsets) ** 2))
        self.own, self.others, self.biases = [], [], []
        for k, (before, after) in enumerate(itertools.pairwise(sizes)):
            start = np.broadcast_to(offsets if k < self.depth else 0.0, (size, after))
            self.own.append(new_weight(self, f"own_{k}", np.zeros((size, before, after))))
            self.others.append(new_weight(self, f"others_{k}", np.zeros((size * before, size * after))))
            self.biases.append(new_weight(self, f"bias_{k}", start))
        self._build_amortized(self.biases, context_shape)

    def _masked(self, context):
        """Return for each layer positive weights (size, before, after), their logarithms, masked weights, biases."""
        size = self.own[0].shape[0]
        biases, layers = self._amortized(self.biases, context), []
        for k, (own, others, bias) in enumerate(zip(self.own, self.others, biases, strict=True)):
            before, after = own.shape[1:]
            weight = scale(own.value) * self._start(k)
            kernel = ops.reshape(others.value, (size, before, size, after))
            earlier = ops.triu(ops.ones((size, size), dtype=kernel.dtype), 1)[:, None, :, None]
            kernel = ops.reshape(kernel * earlier, (size * before, size * after))
            layers.append((weight, ops.log(weight), kernel, bias))
        return layers

    def _start(self, layer):
        """Return where positive weights start: the mean of what they are given, by the gain that bending takes away."""
        return self._gain / self.units if layer else 1.0

    def _run(self, x, layers, given=None):
        """Return (z, log dz_i/dx_i, inputs of units from other entries); the last are `given`, or computed from x."""
        h, log_slope, heard = ops.expand_dims(x, -1), ops.zeros_like(x)[..., None], []
        for k, (weight, log_weight, kernel, bias) in enumerate(layers):
            if k:
                h, log_bend = tanh_residual(h, 1 / LEAK)
                h, log_slope = LEAK * h, log_slope + log_bend + math.log(LEAK)
            if given is None:
                size, before, after = weight.shape
                sums = matmul(ops.reshape(h, (-1, size * before)), kernel)
                heard.append(ops.reshape(sums, (-1, size, after)) + bias)
            h = ops.sum(h[..., None] * weight, axis=-2) + (heard if given is None else given)[k]
            log_slope = ops.logsumexp(log_slope[..., None] + log_weight, axis=-2)
        return h[..., 0], log_slope[..., 0], heard

    def _forward(self, x, context=None):
        z, log_slope, _ = self._run(x, self._masked(context))
        return z, sum_event(log_slope)

    def _inverse(self, z, context=None):
        layers = self._masked(context)
        least = self._least_slope(layers)

        def found(x):
            """Return each entry and its log dx/dz, right if those before it in `x` are."""
            heard = self._run(x, layers)[2]

            def along(x):
                return self._run(x, layers, heard)[:2]

            reach = ops.abs(z - along(ops.zeros_like(z))[0]) / least
            reach = reach * 1.001 + 1e-3  # for the rounding of the ends
            x = solve_increasing(along, z, -reach, reach)
            return x, -along(x)[1]

        x, log_slope = (find_in_passes if engine.records_gradients() else find_fixed_point)(found, z)
        return x, sum_event(log_slope)

    def _least_slope(self, layers):
        """Return the lower bound of df_i/dx_i for each entry: that of units far from their bends."""
        log_slope = ops.zeros_like(layers[0][1][:, :, 0])
        for k, (_, log_weight, _, _) in enumerate(layers):
            leak = math.log(LEAK) if k else 0.0
            log_slope = ops.logsumexp(log_slope[..., None] + log_weight + leak, axis=-2)
        return ops.exp(log_slope[..., 0])
