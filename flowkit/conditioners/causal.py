"""Masked convolutions: a network that reads the places before each place of an image."""

import functools
import math
from typing import Annotated, Any

import numpy as np
from keras import ops

from flowkit.conditioners.transformer import InTurn, NamedWeights, glorot, normal
from flowkit.contract import ContractError, Shape, Tensor
from flowkit.contract.arguments import Blocks, Count, whole
from flowkit.contract.conditioner import as_type, split_parameters
from flowkit.engines import engine

Reach = Annotated[int, whole(1, 64)]


class CausalConvNet(NamedWeights):
    """A masked convolution, then a residual MLP at each place: the output for a place depends on those before it.

    (batch, places, channels) -> (batch, places, features), places in row-major order with `columns` in a row. The
    convolution reads the `reach` rows above and the places on the left, at most `reach` columns to either side, and
    adds a learned position for each place. The MLP adds `depth` times W relu(V relu(h)) to its output h, and a last
    layer starts at zero. Inputs are cut at -6 and 6, so that one far out cannot outweigh all others.

    Raises ValueError for a number out of range, ContractError for a number of places that is no multiple of `columns`.
    van den Oord, Kalchbrenner & Kavukcuoglu, Pixel Recurrent Neural Networks (2016).

    >>> net = CausalConvNet(16, columns=4, depth=1, reach=2, features=6)
    >>> tuple(net(ops.ones((2, 12, 3))).shape)
    (2, 12, 6)
    """

    autoregressive = True
    event_rank = (2, 3)  # of the events whose places it takes one by one
    fixed_axes = "all"  # there is a position for each place

    def __init__(
        self,
        width: Count = 128,
        *,
        columns: Count,
        depth: Blocks = 2,
        reach: Reach = 6,
        features: Count | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(features=features, **kwargs)
        self.width, self.columns, self.depth, self.reach = width, columns, depth, reach

    def build(self, x_shape: Shape) -> None:
        super().build(x_shape)
        places, channels = x_shape[-2:]
        if places % self.columns:
            raise ContractError(
                "event shape", self, expected=f"a multiple of {self.columns} places", received=str(places)
            )
        taps, width = self.reach * (2 * self.reach + 1) + self.reach, self.width
        self._add("window", (taps, channels, width), normal(1 / math.sqrt(4 * taps * channels)))
        self._add("positions", (places, width))
        self._add("first", (self.depth, width, width), glorot(width, width))
        self._add("first_bias", (self.depth, width))
        self._add("second", (self.depth, width, width))
        self._add("second_bias", (self.depth, width))
        self._add("last", (width, self.features))
        self._add("last_bias", (self.features,))

    def call(self, x: Tensor, context: None = None, derived: dict[str, Tensor] | None = None) -> Tensor:
        derived = self._derive(x.shape) if derived is None else derived
        _, places, channels = x.shape
        reach, width = self.reach, self.width
        # The places that a window reads are the first of a rectangle around them; those after them are zeros.
        kernel = ops.pad(derived["window"], [[0, reach + 1], [0, 0], [0, 0]])
        kernel = ops.reshape(kernel, (reach + 1, 2 * reach + 1, channels, width))
        image = ops.reshape(_bounded(x), (-1, places // self.columns, self.columns, channels))
        image = ops.pad(image, [[0, 0], [reach, 0], [reach, reach], [0, 0]])
        h = ops.conv(image, kernel, padding="valid", data_format="channels_last")
        h = ops.reshape(h, (-1, places, width)) + derived["positions"]
        return ops.reshape(self._at_places(ops.reshape(h, (-1, width)), derived), (-1, places, self.features))

    def _at_places(self, h, derived):
        """Return the outputs (n, features) of the first layer's outputs (n, width)."""
        for layer in range(self.depth):
            wide = engine.dense(ops.relu(h), derived["first"][layer], derived["first_bias"][layer])
            h = h + engine.dense(ops.relu(wide), derived["second"][layer], derived["second_bias"][layer])
        return engine.dense(ops.relu(h), derived["last"], derived["last_bias"])

    @functools.cached_property
    def in_turn(self) -> "CausalConvNetInTurn | None":
        """Return the outputs one after another, for the inverse; None if rounding would differ from `call`'s."""
        return CausalConvNetInTurn(self) if self.compute_dtype in ("float32", "float64") else None


def _bounded(x):
    return ops.clip(x, -6, 6)


class CausalConvNetInTurn(InTurn):
    """The outputs of a built `CausalConvNet` one after another, each from its window alone."""

    def begin(self, batch, context, dtype, derived):
        """Return (state, answer) for a batch: see `flowkit.conditioners.made.MADEInTurn.begin`.

        `x` is (places, batch, channels), and the output for a place is (batch, parameters, channels).
        """
        network, own = self.network, self.network.compute_dtype
        taps, channels, width = derived["window"].shape
        places = derived["positions"].shape[0]
        windows = engine.constant(_windows, places, network.columns, network.reach, like=derived["window"])
        kernel = ops.reshape(derived["window"], (taps * channels, width))

        def answer(k, x, state):
            seen = ops.pad(_bounded(as_type(x, own)), [[0, 1], [0, 0], [0, 0]])  # the last one is outside
            window = ops.take(seen, ops.cast(ops.take(windows, k, axis=0), "int32"), axis=0)
            window = ops.reshape(ops.swapaxes(window, 0, 1), (-1, taps * channels))
            h = engine.dense(window, kernel, ops.take(derived["positions"], k, axis=0))
            h = as_type(network._at_places(h, derived), dtype)
            return split_parameters(h, network.features // channels, "contiguous"), state

        return (), answer


def _windows(places, columns, reach):
    """Return the numbers of the places that each place reads; `places` for those outside of the image."""
    row, column = np.divmod(np.arange(places)[:, None], columns)
    taps = np.arange(reach * (2 * reach + 1) + reach)
    up, side = reach - taps // (2 * reach + 1), taps % (2 * reach + 1) - reach
    there = (row >= up) & (column + side >= 0) & (column + side < columns)
    return np.where(there, (row - up) * columns + column + side, places).astype("float32")
