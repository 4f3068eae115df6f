"""Transformers over the places of an event: a vision transformer and a causal one."""

import functools
import math
from collections.abc import Callable
from typing import Annotated, Any

import keras
import numpy as np
from keras import ops

from flowkit.conditioners.context import ContextNetwork
from flowkit.contract import Conditioner, Context, Shape, Tensor
from flowkit.contract.arguments import Blocks, Count, whole
from flowkit.contract.conditioner import as_type, split_parameters
from flowkit.contract.shapes import as_tuple
from flowkit.engines import engine

HEAD = 64
"""The channels of a head if the number of heads is not given, as published for Jet and TarFlow."""


def normal(deviation: float) -> Callable[..., Any]:
    """Return an initializer that draws from N(0, deviation^2), by numpy: JAX compiles Keras's for half a second."""

    def draw(shape, dtype):
        return ops.convert_to_tensor(_rng().normal(0, deviation, shape), dtype=dtype)

    return draw


def glorot(fan_in: int, fan_out: int) -> Callable[..., Any]:
    """Return Glorot and Bengio's uniform initializer for matrices of this size, also for a stack of them."""

    def draw(shape, dtype):
        limit = math.sqrt(6 / (fan_in + fan_out))
        return ops.convert_to_tensor(_rng().uniform(-limit, limit, shape), dtype=dtype)

    return draw


def _rng():
    return np.random.default_rng(keras.initializers.RandomNormal().seed)  # Keras's own default seed


def split_heads(x: Tensor, parts: int, heads: int) -> Any:
    """Return each of the `parts` of (batch, n, parts * width), queries, keys or values, as (batch, heads, n, d)."""
    x = engine.reshape(x, (-1, x.shape[1], parts, heads, x.shape[-1] // (parts * heads)))
    return engine.unstack(engine.transpose(x, (2, 0, 3, 1, 4)))


def join_heads(x: Tensor) -> Any:
    """Return (batch, heads, n, d) as (batch, n, width)."""
    _, heads, n, size = x.shape
    return engine.reshape(engine.transpose(x, (0, 2, 1, 3)), (-1, n, heads * size))


class NamedWeights(Conditioner):
    """A network whose weights are kept in a dict, `weights_by_name`, and derived as one."""

    def build(self, x_shape: Shape, *context_shape: Shape) -> None:
        self.weights_by_name: dict[str, Any] = {}

    def _add(self, name, shape, start="zeros"):
        self.weights_by_name[name] = self.add_weight(
            shape=shape, initializer=start, name=name, autocast=False
        )

    def _derive(self, x_shape: Shape) -> dict[str, Any]:
        # Norms are computed in the precision of the weights.
        return {
            name: weight.value if "norm" in name else as_type(weight.value, self.compute_dtype)
            for name, weight in self.weights_by_name.items()
        }


class Transformer(NamedWeights, ContextNetwork):
    """Base class of `ViT` and `CausalTransformer`: (batch, *places, channels) -> (batch, *places, features).

    A linear layer, plus learned positions, then `depth` times h + attention(norm(h)) and h + mlp(norm(h)), then a
    linear layer that starts at zero. The weights of all `depth` layers are stored together: one variable of shape
    (depth, *shape) for each weight.

    A subclass sets the attributes below and writes `_mixed` and `_after_blocks` if it differs there.
    """

    approximate = False  # the gelu: by tanh, or exact
    epsilon = 1e-5  # of the layer norms
    ends_with_norm = False
    fixed_axes = "all"  # there is a position for each place
    crosses = False  # the context is a sequence

    def __init__(
        self,
        width: Count = 512,
        *,
        depth: Blocks = 2,
        heads: Count | None = None,
        expansion: Annotated[int, whole(1, 64)] = 4,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.width, self.depth, self.heads, self.expansion = width, depth, heads, expansion
        self._heads = max(1, width // HEAD) if heads is None else heads
        if width % self._heads:
            raise ValueError(
                f"{type(self).__name__}'s width: got {width}, expected a multiple of the {self._heads} heads. "
                "Pass heads=."
            )
        self.bias = None

    def _start_of_positions(self):
        return normal(1 / math.sqrt(self.width))

    def build(self, x_shape: Shape, context_shape: Shape | None = None) -> None:
        width, wide = self.width, self.expansion * self.width
        self.channels, places = x_shape[-1], math.prod(as_tuple(x_shape)[1:-1])
        super().build(x_shape, context_shape)
        self.crosses = self.context != "none" and _is_sequence(context_shape, x_shape)
        self._add_linear("in", (), self.channels, width)
        self._add("positions", (places, width), self._start_of_positions())
        if self.context != "none":
            self._build_context(context_shape)
        stack = (self.depth,)
        self._add_norm("attention_norm", stack)
        self._add_linear("qkv", stack, width, 3 * width, glorot(width, width))
        self._add_linear("projection", stack, width, width)
        self._add_norm("mlp_norm", stack)
        self._add_linear("up", stack, width, wide)
        self._add_linear("down", stack, wide, width)
        if self.ends_with_norm:
            self._add_norm("norm", ())
        self._add_linear("out", (), width, self.features, "zeros")

    def _build_context(self, context_shape):
        if not self.crosses:
            self.bias = self._context_bias(self.width, absent="mean")
            self.bias.build(context_shape)
            return
        width, size = self.width, context_shape[-1]
        self._add_linear("query", (), width, width)
        self._add_linear("keys_values", (), size, 2 * width, glorot(size, width))
        self._add_linear("answer", (), width, width, "zeros")

    def _add_linear(self, name, stack, size, width, start=None):
        self._add(f"{name}_weight", (*stack, size, width), start or glorot(size, width))
        self._add(f"{name}_bias", (*stack, width))

    def _add_norm(self, name, stack):
        self._add(f"{name}_scale", (*stack, self.width), "ones")
        self._add(f"{name}_bias", (*stack, self.width))

    def run(self, x: Tensor, context: Context = None, derived: dict[str, Tensor] | None = None) -> Tensor:
        # Weights are cast where they are derived, so that Keras's entry is not needed in low precision either.
        return self.call(as_type(x, self.compute_dtype), context, derived)

    def call(self, x: Tensor, context: Context = None, derived: dict[str, Tensor] | None = None) -> Tensor:
        derived = self._derive(x.shape) if derived is None else derived
        h = self._embedded(x, context, derived["positions"], derived)
        h = self._crossed(h, self._keys_and_values(context, derived), derived)
        for layer in self._weights_by_layer(derived):
            h = self._block(h, layer, self._mixed)
        return engine.reshape(self._after_blocks(h, derived), (-1, *x.shape[1:-1], self.features))

    def _embedded(self, x, context, positions, derived):
        """Return the first layer's output for some places, (batch, n, width)."""
        h = self._add_context(_linear(x, derived, "in"), context)
        return engine.reshape(h, (-1, positions.shape[0], self.width)) + positions

    def _weights_by_layer(self, derived):
        """Return for each layer its weights by name."""
        names = [name for name, weight in self.weights_by_name.items() if name.startswith(_STACKED)]
        rows = zip(*(engine.unstack(derived[name]) for name in names), strict=True)
        return [dict(zip(names, row, strict=True)) for row in rows]

    def _block(self, h, layer, mix):
        """Return one layer's output; `mix(q, k, v)` mixes values (batch, heads, n, d) of its places."""
        qkv = _linear(self._norm(h, layer, "attention_norm"), layer, "qkv")
        h = h + _linear(join_heads(mix(*split_heads(qkv, 3, self._heads))), layer, "projection")
        wide = ops.gelu(_linear(self._norm(h, layer, "mlp_norm"), layer, "up"), approximate=self.approximate)
        return h + _linear(wide, layer, "down")

    def _norm(self, h, weights, name):
        y = engine.layer_norm(h, weights[f"{name}_scale"], weights[f"{name}_bias"], self.epsilon)
        return as_type(y, self.compute_dtype)

    def _mixed(self, q, k, v):
        return engine.attend(q, k, v)

    def _keys_and_values(self, context, derived):
        """Return those of a sequence, (batch, heads, n, d) each; None for another context, or none."""
        if not self.crosses or context is None:
            return None
        sequence = engine.reshape(context, (-1, context.shape[1], context.shape[-1]))
        return split_heads(
            _linear(as_type(sequence, self.compute_dtype), derived, "keys_values"), 2, self._heads
        )

    def _crossed(self, h, keys_and_values, derived):
        """Return `h` plus what its places attend to in the sequence."""
        if keys_and_values is None:
            return h
        (query,) = split_heads(_linear(h, derived, "query"), 1, self._heads)
        return h + _linear(join_heads(engine.attend(query, *keys_and_values)), derived, "answer")

    def _after_blocks(self, h, derived):
        h = self._norm(h, derived, "norm") if self.ends_with_norm else h
        return _linear(h, derived, "out")


_STACKED = ("attention_norm", "qkv", "projection", "mlp_norm", "up", "down")


def _is_sequence(context_shape, x_shape):
    """Return True for vectors (batch, n, k) that belong to no places, beside an image, or (batch, n, 1, k) beside rows.

    `Autoregressive` passes the latter, since it has put the places in a row.
    """
    if context_shape is None or isinstance(context_shape, dict):
        return False
    rank, places = len(context_shape), len(x_shape)
    return (rank == 3 and places != 3) or (rank == 4 and places == 3 and context_shape[2] == 1)


def _linear(x, weights, name):
    """Return x W + b on the last axis; in rows, which backends compute in one call."""
    kernel, shape = weights[f"{name}_weight"], x.shape
    y = engine.dense(engine.reshape(x, (-1, shape[-1])), kernel, weights[f"{name}_bias"])
    return engine.reshape(y, (-1, *shape[1:-1], kernel.shape[-1]))


class ViT(Transformer):
    """A vision transformer over the places of an event: each place hears all others.

    (batch, *places, channels) -> (batch, *places, features): a linear layer of `width`, plus a learned position for
    each place, `depth` layers of attention with `heads` heads (None: one for each 64 channels) and an MLP of
    `expansion` times the width, a layer norm, and a linear layer that starts at zero.

    `context` ("none", "optional", "required") enters the first layer as a bias: labels (batch,) with `num_classes`,
    vectors (batch, k), or a map (batch, *places, k). A sequence (batch, n, k) beside an image enters by
    cross-attention, whose output starts at zero. With an optional context and `num_classes`, a label below 0 means no
    label.

    Raises ValueError for a width that is no multiple of the heads. Dosovitskiy et al., An Image is Worth 16x16 Words
    (2021); as used by Kolesnikov, Pinto & Tschannen, Jet (2024).

    >>> net = ViT(16, depth=1, features=6)
    >>> tuple(net(ops.ones((2, 4, 4, 3))).shape)
    (2, 4, 4, 6)
    """

    approximate = True
    epsilon = 1e-6
    ends_with_norm = True


class CausalTransformer(Transformer):
    """A transformer whose output for a place depends on the places before it, and on the context.

    (batch, *places, channels) -> (batch, *places, features), places in row-major order: a linear layer of `width`,
    plus a learned position for each place, `depth` layers of causal attention with `heads` heads (None: one for each
    64 channels) and an MLP of `expansion` times the width, a linear layer that starts at zero, and a shift by one
    place. The output for the first place is 0.

    `context` ("none", "optional", "required") enters the first layer as a bias: labels (batch,) with `num_classes`,
    vectors (batch, k), or a map (batch, *places, k). A sequence (batch, n, k) beside an image enters by
    cross-attention, whose output starts at zero. With an optional context and `num_classes`, a label below 0, or no
    context, stands for the mean of all labels.

    In `Autoregressive`, the inverse finds one place after another and keeps the keys and values of each layer, so all
    outputs together cost about as much as one pass.

    Raises ValueError for a width that is no multiple of the heads. Zhai et al., Normalizing Flows are Capable
    Generative Models (2024).

    >>> net = CausalTransformer(16, depth=1, features=6)
    >>> tuple(net(ops.ones((2, 4, 4, 3))).shape)
    (2, 4, 4, 6)
    """

    autoregressive = True
    event_rank = (2, 3)  # of the events whose places it takes one by one

    def _start_of_positions(self):
        return normal(0.01)

    def _mixed(self, q, k, v):
        return engine.attend(q, k, v, engine.constant(_until, q.shape[-2], like=q) > 0)

    def _after_blocks(self, h, derived):
        h = super()._after_blocks(h, derived)
        return ops.pad(h[:, :-1], [[0, 0], [1, 0], [0, 0]])

    @functools.cached_property
    def in_turn(self) -> "TransformerInTurn":
        """Return the outputs one after another, for the inverse."""
        return TransformerInTurn(self)


def _until(n):
    """Return 1 if a place may attend to another: itself and those before it, (n, n)."""
    return np.tril(np.ones((n, n), "float32"))


class InTurn:
    """Hold a built network of places, whose outputs a subclass returns one after another by `begin`."""

    def __init__(self, network: Conditioner) -> None:
        self.network = network

    def derive(self) -> dict[str, Any]:
        """Return what depends on weights alone."""
        return self.network._derive(None)


class TransformerInTurn(InTurn):
    """The outputs of a built `CausalTransformer` one after another, with the keys and values of the places before.

    Row k of a buffer belongs to place k - 1, which is what the output for place k needs; row 0 is never read, except by
    the output for the first place, which is 0 anyway.
    """

    def begin(self, batch, context, dtype, derived):
        """Return (state, answer) for a batch: see `flowkit.conditioners.made.MADEInTurn.begin`.

        `x` is (places, batch, channels), and the output for a place is (batch, parameters, channels).
        """
        network, own = self.network, self.network.compute_dtype
        count, layers = derived["positions"].shape[-2], network._weights_by_layer(derived)
        rows = engine.StepWindows(range(1, count + 1))
        indices = engine.constant(np.arange, count, like=derived["attention_norm_scale"])
        parameters = network.features // network.channels
        buffer = (count, batch, network._heads, network.width // network._heads)
        heard = network._keys_and_values(context, derived)
        # One vector for each place.
        is_map = context is not None and heard is None and len(context.shape) == 3
        if is_map:
            context = ops.swapaxes(context, 0, 1)

        def answer(k, x, state):
            before = max(k - 1, 0) if isinstance(k, int) else ops.maximum(k - 1, 0)
            seen = context
            if is_map:
                seen = ops.expand_dims(_row(context, before), 1)
            token = ops.expand_dims(as_type(_row(x, before), own), 1)
            h = network._embedded(token, seen, _row(derived["positions"], before)[None], derived)
            h = network._crossed(h, heard, derived)
            after = []
            for layer, caches in zip(layers, state, strict=True):
                kept = []

                def mix(q, k_new, v_new, caches=caches, kept=kept):
                    for cache, new in zip(caches, (k_new, v_new), strict=True):
                        kept.append(rows.written(cache, k, ops.transpose(new, (2, 0, 1, 3))))
                    known = [ops.transpose(rows.known(cache, k), (1, 2, 0, 3)) for cache in kept]
                    return engine.attend(q, *known, self._heard(k, indices, known[0].shape[2]))

                h = network._block(h, layer, mix)
                after.append(tuple(kept))
            h = as_type(_linear(h, derived, "out"), dtype)[:, 0]
            begun = float(k > 0) if isinstance(k, int) else ops.cast(k > 0, h.dtype)
            return split_parameters(begun * h, parameters, "contiguous"), tuple(after)

        zeros = [ops.zeros(buffer, dtype=own) for _ in range(2 * len(layers))]
        return tuple(zip(zeros[::2], zeros[1::2], strict=True)), answer

    def _heard(self, k, indices, count):
        """Return which of the first `count` rows of a buffer the output for place k needs: (1, count)."""
        first = min(k, 1) if isinstance(k, int) else ops.cast(ops.minimum(k, 1), indices.dtype)
        last = k if isinstance(k, int) else ops.cast(k, indices.dtype)
        return ops.logical_and(indices[:count] >= first, indices[:count] <= last)[None]


def _row(x, k):
    return x[k] if isinstance(k, int) else ops.take(x, k, axis=0)
