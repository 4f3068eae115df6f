"""Convolutional networks: Glow's, those of Flow++ with gates and self-attention, and residual ones."""

import itertools
from typing import Annotated, Any

import keras
from keras import ops

from flowkit.conditioners.context import ContextNetwork
from flowkit.conditioners.scaled import Convolution, ScaledConv
from flowkit.conditioners.transformer import join_heads, split_heads
from flowkit.contract import Conditioner, Context, Shape, Tensor
from flowkit.contract.adaptation import adapted_flag
from flowkit.contract.arguments import Blocks, Count, Fraction, Positive, whole
from flowkit.contract.conditioner import as_type
from flowkit.engines import engine
from flowkit.numerics import mean


class ConvNet(ContextNetwork):
    """3x3 (width) + actnorm + ReLU -> 1x1 (width) + actnorm + ReLU -> 3x3 (features), zero at the start.

    (batch, h, w, c) -> (batch, h, w, features). `context` ("none", "optional", "required") enters as a bias
    of the first hidden layer: labels (batch,) with `num_classes`, vectors (batch, k), or maps
    (batch, h, w, k). Raises ValueError for a width that is no whole number from 1 up. Kingma & Dhariwal, Glow (2018),
    section B.

    >>> import keras
    >>> net = ConvNet(16, features=6).adapt(keras.random.normal((8, 4, 4, 3)))
    >>> float(ops.max(ops.abs(net(ops.ones((1, 4, 4, 3))))))
    0.0
    """

    def __init__(self, width: Count = 512, *, edge_bias: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.width, self.edge_bias = width, edge_bias
        common = {"edge_bias": edge_bias, "dtype": self.dtype_policy}
        self.first = ScaledConv(width, 3, **common, name="l_1")
        self.second = ScaledConv(width, 1, **common, name="l_2")
        self.last = ScaledConv(self.features, 3, zeros=True, **common, name="l_last")
        self.bias = self._context_bias(width, name="context")

    def build(self, x_shape: Shape, context_shape: Shape | None = None) -> None:
        hidden = (*x_shape[:-1], self.width)
        self.last.features = self.features
        self.first.build(x_shape)
        self.second.build(hidden)
        self.last.build(hidden)
        super().build(x_shape, context_shape)

    def run(self, x: Tensor, context: Context = None, derived: dict[str, Tensor] | None = None) -> Tensor:
        # Each of its layers casts for itself, so that Keras's entry is not needed in low precision either.
        return self.call(as_type(x, self.compute_dtype), context, derived)

    def _derive(self, x_shape: Shape) -> dict[str, Any]:
        hidden = (*x_shape[:-1], self.width)
        return {
            "layers": [self.first._derive(x_shape), self.second._derive(hidden), self.last._derive(hidden)]
        }

    def call(self, x: Tensor, context: Context = None, derived: dict[str, Tensor] | None = None) -> Tensor:
        layers = (self._derive(x.shape) if derived is None else derived)["layers"]
        if context is None or self.bias is None:
            return engine.convolve_in_turn(x, [(layer["kernel"], layer["bias"]) for layer in layers])
        first, second, last = layers
        h = engine.rectify(self._add_context(self.first.call(x, first), context))
        return self.last.call(engine.rectify(self.second.call(h, second)), last)

    def adapt(self, x: Tensor, context: Context = None) -> Any:
        """Normalise the hidden activations on this batch, in the order in which data flow. Returns `self`."""
        if not self.built:
            self.build(x.shape, None if context is None else context.shape)
        h = ops.relu(self._add_context(self.first.adapt(x), context))
        self.second.adapt(h)
        return self


Heads = Annotated[int, whole(0)]
"""The heads of self-attention; 0: none."""


class NormalizedConv(Convolution):
    """y = W * x + b, stride 1, same size; `adapt(x)` sets W and b so that y has mean 0 and deviation `scale`.

    W ~ N(0, 0.05) before. The scale goes into W, so that nothing but W and b is trained.
    """

    def __init__(self, features, kernel_size: Count = 3, *, scale: Positive = 1.0, **kwargs):
        super().__init__(features, kernel_size, **kwargs)
        self.scale = scale

    def build(self, x_shape):
        super().build(x_shape, keras.initializers.RandomNormal(stddev=0.05))
        self.flag = adapted_flag(self)

    def adapt(self, x):
        y = ops.cast(self.call(x), self.variable_dtype)
        center = mean(y, axis=(0, 1, 2))
        size = ops.sqrt(mean(ops.square(y - center), axis=(0, 1, 2))) / self.scale
        # A channel that does not vary stays as it is, and so does one that is normalised but for rounding.
        done = ops.logical_and(ops.abs(size - 1) < 1e-3, ops.abs(center) < 1e-3 * self.scale)
        kept = ops.logical_or(done, size < 1e-6)
        factor = 1 / ops.where(kept, ops.ones_like(size), size)
        shift = ops.where(kept, ops.zeros_like(center), center)
        self.kernel.assign(self.kernel.value * factor)
        self.bias.assign((self.bias.value - shift) * factor)
        self.flag.assign(True)


class Gated(keras.Layer):
    """x + a sigmoid(b), (a, b) = conv(h) with dropout, for a map h that a subclass makes by its `first` convolution."""

    def __init__(self, width, first, kernel_size, dropout, **kwargs):
        super().__init__(**kwargs)
        common = {"dtype": self.dtype_policy}
        self.width = width
        self.first = NormalizedConv(*first, **common)
        self.second = NormalizedConv(2 * width, kernel_size, scale=0.1, **common)
        self.dropout = keras.layers.Dropout(dropout, **common) if dropout else None

    def _added(self, x, h):
        h = self.second.call(h if self.dropout is None else self.dropout(h))
        first, second = engine.split(h, [self.width, self.width])
        return x + first * ops.sigmoid(second)


class GatedConv(Gated):
    """The same with (a, b) = conv(f(conv(f(x)) + conv(f(context)))), f(h) = elu([h, -h])."""

    def __init__(self, width, kernel_size, dropout, *, steered=False, **kwargs):
        super().__init__(width, (width, 3), kernel_size, dropout, **kwargs)
        self.steering = NormalizedConv(width, 1, dtype=self.dtype_policy) if steered else None

    def build(self, x_shape, context_shape=None):
        self.first.build((*x_shape[:-1], 2 * self.width))
        self.second.build((*x_shape[:-1], 2 * self.width))
        if self.steering is not None:
            self.steering.build((*x_shape[:-1], 2 * context_shape[-1]))

    def call(self, x, context=None, known=1.0):
        """Return the answer; rows of the context for which `known` is 0 count as none."""
        h = self.first.call(concat_elu(x))
        if self.steering is not None and context is not None:
            h = h + known * self.steering.call(concat_elu(context))
        return self._added(x, concat_elu(h))


class GatedSelfAttention(Gated):
    """The same with (a, b) a linear map of what each place attends to, and learned `positions` added to x."""

    def __init__(self, width, heads, dropout, **kwargs):
        super().__init__(width, (3 * width, 1), 1, dropout, **kwargs)
        self.heads = heads

    def build(self, x_shape):
        self.first.build(x_shape)
        self.second.build(x_shape)

    def call(self, x, positions):
        height, width = x.shape[1:3]
        h = engine.reshape(self.first.call(x + positions), (-1, height * width, 3 * self.width))
        seen = join_heads(engine.attend(*split_heads(h, 3, self.heads)))
        return self._added(x, engine.reshape(seen, (-1, height, width, self.width)))


class GatedNetwork(Conditioner):
    """Base class of `GatedAttention` and `GatedConvNet`: a convolution, then `blocks` gated ones, `dropout` in each.

    Self-attention with `heads` follows each gated convolution, none for 0 heads, and a layer norm each of both.
    """

    def _make_blocks(self, name, width, kernel_size, *, steered=False, normalized=True):
        """Make the layers of `width`, the argument `name`."""
        if self.heads and width % self.heads:
            raise ValueError(
                f"{type(self).__name__}'s {name}: got {width}, expected a multiple of heads={self.heads}."
            )
        common, attended = {"dtype": self.dtype_policy}, self.blocks if self.heads else 0
        self.first = NormalizedConv(width, 3, **common)
        self.convs = [
            GatedConv(width, kernel_size, self.dropout, steered=steered, **common) for _ in range(self.blocks)
        ]
        self.attentions = [
            GatedSelfAttention(width, self.heads, self.dropout, **common) for _ in range(attended)
        ]
        norms = self.blocks + attended if normalized else 0
        self.norms = [keras.layers.LayerNormalization(epsilon=1e-5, **common) for _ in range(norms)]

    def _build_first(self, x_shape, hidden):
        """Build the first convolution, whose answer has the shape `hidden`, and a vector for each place of that."""
        self.positions = None
        if self.heads:
            start = keras.initializers.RandomNormal(stddev=0.01)
            self.positions = self.add_weight(shape=hidden[1:], initializer=start, name="positions")
        self.first.build(x_shape)

    def _build_blocks(self, hidden, context_shape=None):
        for conv in self.convs:
            conv.build(hidden, context_shape)
        for layer in (*self.attentions, *self.norms):
            layer.build(hidden)

    def _through_blocks(self, x, context=None, known=1.0):
        h, norms = self.first.call(x), iter(self.norms)
        for conv, attention in itertools.zip_longest(self.convs, self.attentions):
            h = next(norms, _unchanged)(conv.call(h, context, known))
            if attention is not None:
                h = next(norms, _unchanged)(attention.call(h, self.positions.value))
        return h


def _unchanged(h):
    return h


class GatedAttention(GatedNetwork, ContextNetwork):
    """3x3 convolution, `blocks` x (gated convolution, layer norm, gated self-attention, layer norm), 3x3 convolution.

    (batch, h, w, c) -> (batch, h, w, features). A gated convolution is x + a sigmoid(b) with (a, b) = conv(f(conv(f(x))
    + conv(f(context)))), f(h) = elu([h, -h]), a 3x3 kernel and then 1x1 ones. Self-attention has `heads` heads, and
    adds a learned vector for each place: so weights belong to one size of image; `heads=0` leaves it out, with the norm
    behind it. `dropout` acts in training, in each convolution and attention. `activated`: f before the last
    convolution too.

    `context` ("none", "optional", "required") is a map (batch, h, w, k), a vector (batch, k), labels (batch,) with
    `num_classes`, or a sequence (batch, n, k), of which all convolutions get the mean.

    The first batch (`adapt`) scales each kernel, so that its outputs have mean 0 and deviation 1; 0.1 of those that are
    added to x, and of the answer. Raises ValueError if `width` is no multiple of `heads`. Ho, Chen, Srinivas, Duan &
    Abbeel, Flow++ (2019), section 3.3.

    >>> net = GatedAttention(8, blocks=1, heads=2, features=6)
    >>> tuple(net(ops.ones((2, 4, 4, 3))).shape)
    (2, 4, 4, 6)
    """

    fixed_axes = "all"

    def __init__(
        self,
        width: Count = 96,
        *,
        blocks: Blocks = 10,
        heads: Heads = 4,
        dropout: Fraction = 0.0,
        activated: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.width, self.blocks, self.heads, self.dropout = width, blocks, heads, dropout
        self.activated = activated
        self.labels = self._context_bias(width) if self.num_classes else None
        self._make_blocks("width", width, 1, steered=self.context != "none")

    def build(self, x_shape: Shape, context_shape: Shape | None = None) -> None:
        hidden = (None, *x_shape[1:-1], self.width)
        self._build_first(x_shape, hidden)
        if self.labels is not None:
            self.labels.build(context_shape)
            context_shape = (None, self.width)
        self._build_blocks(hidden, context_shape)
        self.last = NormalizedConv(self.features, 3, scale=0.1, dtype=self.dtype_policy)
        self.last.build((*hidden[:-1], 2 * self.width) if self.activated else hidden)

    def call(self, x: Tensor, context: Context = None) -> Tensor:
        known = 1.0
        if context is not None:
            if self.labels is not None:
                known = ops.cast(context >= 0, self.compute_dtype)[:, None, None, None]
            context = self._as_map(context)
        h = self._through_blocks(x, context, known)
        return self.last.call(concat_elu(h) if self.activated else h)

    def _as_map(self, context):
        """Return the context as a map, of one place for all but maps."""
        if self.labels is not None:
            return self.labels.call(context, rank=4)
        context = as_type(context, self.compute_dtype)
        if len(context.shape) == 4:
            return context
        return (context if len(context.shape) == 2 else mean(context, axis=1))[:, None, None]


class GatedConvNet(GatedNetwork):
    """3x3 convolution, then `blocks` gated convolutions of 3x3 kernels: a map that `GatedAttention` takes as context.

    (batch, h, w, c) -> (batch, h, w / columns, features). First, `columns` neighbouring columns become channels. The
    gated convolutions, `dropout` and `adapt` are those of `GatedAttention`. `normalized`: a layer norm follows each;
    `heads`: then gated self-attention, which adds a learned vector for each place. Ho et al., Flow++ (2019).

    Raises ValueError if `features` is no multiple of `heads`.

    >>> tuple(GatedConvNet(8, columns=2)(ops.ones((2, 4, 4, 3))).shape)
    (2, 4, 2, 8)
    """

    def __init__(
        self,
        features: Count = 32,
        *,
        blocks: Blocks = 3,
        columns: Count = 1,
        heads: Heads = 0,
        normalized: bool = False,
        dropout: Fraction = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(features=features, **kwargs)
        self.blocks, self.columns, self.heads = blocks, columns, heads
        self.normalized, self.dropout = normalized, dropout
        self._make_blocks("features", features, 3, normalized=normalized)

    def build(self, x_shape: Shape) -> None:
        hidden = self.compute_output_shape(x_shape)
        self._build_first((*hidden[:-1], x_shape[-1] * self.columns), hidden)
        self._build_blocks(hidden)

    def call(self, x: Tensor, context: Context = None) -> Tensor:
        _, height, width, channels = x.shape
        h = engine.reshape(x, (-1, height, width // self.columns, channels * self.columns))
        return self._through_blocks(h)

    def compute_output_shape(self, x_shape: Shape) -> Shape:
        batch, height, width, _ = x_shape
        return (batch, height, width and width // self.columns, self.features)


class ResidualConvNet(Conditioner):
    """3x3 convolution, `blocks` x (h + conv(relu(conv(relu(h)))), 3x3 kernels), 3x3 convolution that starts at zero.

    (batch, h, w, c) -> (batch, h, w, features). Convolutions are normalised by the first batch, as in `GatedAttention`.
    He, Zhang, Ren & Sun, Identity Mappings in Deep Residual Networks (2016); for couplings Dinh, Sohl-Dickstein &
    Bengio, Real NVP (2017).

    >>> tuple(ResidualConvNet(8, blocks=1, features=6)(ops.ones((2, 4, 4, 3))).shape)
    (2, 4, 4, 6)
    """

    def __init__(
        self, width: Count = 64, *, blocks: Blocks = 8, features: Count | None = None, **kwargs: Any
    ) -> None:
        super().__init__(features=features, **kwargs)
        self.width, self.blocks = width, blocks
        scales = [1.0, *(scale for _ in range(blocks) for scale in (1.0, 0.1))]
        self.convs = [NormalizedConv(width, 3, scale=scale, dtype=self.dtype_policy) for scale in scales]

    def build(self, x_shape: Shape) -> None:
        hidden = (*x_shape[:-1], self.width)
        self.last = ScaledConv(self.features, 3, zeros=True, dtype=self.dtype_policy)
        for conv, shape in zip([*self.convs, self.last], [x_shape, *[hidden] * len(self.convs)], strict=True):
            conv.build(shape)

    def call(self, x: Tensor, context: Context = None) -> Tensor:
        first, *convs = self.convs
        h = first.call(x)
        for one, two in zip(convs[::2], convs[1::2], strict=True):
            h = h + two.call(ops.relu(one.call(ops.relu(h))))
        return self.last.call(ops.relu(h))


def concat_elu(x):
    """Return elu([x, -x]) on the last axis."""
    return ops.elu(engine.concatenate([x, -x]))
