"""Priors of latents: given a class, given those that stay at a level, of each channel, and of each place."""

from typing import Any

import keras
from keras import ops

from flowkit.conditioners.context import rows_of
from flowkit.conditioners.scaled import ScaledConv, ScaledDense
from flowkit.contract import Context, Shape, Tensor
from flowkit.contract.arguments import Count
from flowkit.contract.conditioner import as_type
from flowkit.contract.configured import Configured
from flowkit.contract.shapes import as_tuple
from flowkit.engines import engine


class Prior(Configured, keras.Layer):
    """Base class of `TopPrior` and `PlacePrior`: 2c channels for c of the latents; classes come as the context."""

    def __init__(self, *, num_classes: Count | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.context = "none" if num_classes is None else "required"

    def compute_output_shape(self, z_shape: Shape, context_shape: Shape | None = None) -> Shape:
        return (*z_shape[:-1], 2 * z_shape[-1])


class TopPrior(Prior):
    """(mean, logs) in halves of 2c channels, for latents (batch, h, w, c) of which only the shape is read.

    `learn=True`: a zero-initialised `ScaledConv` of an image of zeros, so what is learned is one bias for
    each channel, and through the edge channel other ones near the border. With `num_classes`,
    a class's own mean and logs are added: the context is integer labels (batch,).
    The answer's batch axis is 1 if it is the same for every sample.

    Kingma & Dhariwal, Glow (2018), section 3.5, and the published code's `prior`.

    >>> tuple(TopPrior()(ops.ones((16, 4, 4, 3))).shape)
    (1, 4, 4, 6)
    """

    def __init__(
        self, *, learn: bool = True, num_classes: Count | None = None, edge_bias: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(num_classes=num_classes, **kwargs)
        self.learn, self.edge_bias = learn, edge_bias
        self.conv = ScaledConv(zeros=True, edge_bias=edge_bias, dtype=self.dtype_policy, name="p")

    def build(self, z_shape: Shape, context_shape: Shape | None = None) -> None:
        features = 2 * z_shape[-1]
        if self.learn:
            self.conv.features = features
            self.conv.build((1, *z_shape[1:-1], features))
        if self.num_classes is not None:
            self.embedding = ScaledEmbedding(
                self.num_classes, features, dtype=self.dtype_policy, name="y_emb"
            )
            self.embedding.build(context_shape)

    def run_inside(self, z: Tensor, context: Context = None) -> Tensor:
        """Return `self(z, context)` of a built layer, without Keras's `__call__`."""
        return self.call(z, context)

    def call(self, z: Tensor, context: Context = None) -> Tensor:
        _, height, width, channels = as_tuple(z.shape)  # to an exporter's tracer, sizes are tensors
        shape = (1, height, width, 2 * channels)
        # Of an image of zeros a convolution leaves what does not depend on it.
        h = self.conv.answer_to_zeros(shape) if self.learn else ops.zeros(shape, dtype=self.compute_dtype)
        if self.num_classes is not None:
            h = h + ops.reshape(self.embedding(context), (-1, 1, 1, 2 * channels))
        return h


class SplitPrior(ScaledConv):
    """h = (W * [z, edge] + b) exp(3 logs) + e(label): (mean, logs) of the latents that leave, given z, which stay.

    (batch, h, w, c) -> (batch, h, w, features), one of the `priors` of a `MultiScale`. It is a zero-initialised
    `ScaledConv`, as published, to which each of `num_classes` classes adds numbers of its own, which start at 0, at
    every place: the context is integer labels (batch,). Winkler, Worrall, Hoogeboom & Welling, Learning Likelihoods
    with Conditional Normalizing Flows (2019).

    >>> prior = SplitPrior(5, features=4)
    >>> tuple(prior(ops.ones((3, 8, 8, 2)), context=ops.zeros((3,), "int32")).shape)
    (3, 8, 8, 4)
    """

    context = "required"

    def __init__(self, num_classes: Count, *, features: Count | None = None, **kwargs: Any) -> None:
        super().__init__(features, zeros=True, **kwargs)
        self.num_classes = num_classes

    def build(self, x_shape: Shape, context_shape: Shape | None = None) -> None:
        super().build(x_shape)
        self.embedding = ScaledEmbedding(
            self.num_classes, self.features, dtype=self.dtype_policy, name="y_emb"
        )
        self.embedding.build(context_shape)

    def run_inside(
        self, x: Tensor, context: Context = None, derived: dict[str, Tensor] | None = None
    ) -> Tensor:
        return self.call(as_type(x, self.compute_dtype), context, derived)

    def call(self, x: Tensor, context: Context = None, derived: dict[str, Tensor] | None = None) -> Tensor:
        return super().call(x, derived) + self.embedding(context)[:, None, None]


@keras.saving.register_keras_serializable("flowkit")
class ScaledEmbedding(ScaledDense):
    """labels (batch,) -> (W[label] + b) exp(3 logs), (batch, features); zero at the start."""

    def __init__(self, num_classes, features, **kwargs):
        super().__init__(features, **kwargs)
        self.num_classes = num_classes

    def build(self, labels_shape=None):
        super().build((None, self.num_classes))

    def _rows(self, x):
        return rows_of(self.kernel, x)


class PlacePrior(Prior):
    """(mean, logs) in halves of 2c channels, free for each place of latents (batch, h, w, c); zero at the start.

    Only the shape of the latents is read, and with `num_classes` each class has numbers of its own:
    the context is integer labels (batch,). The answer's batch axis is 1 without classes. Unlike
    `TopPrior` its weights belong to one size of image. It is what normflows calls DiagGaussian and
    ClassCondDiagGaussian.

    >>> tuple(PlacePrior(num_classes=5)(ops.ones((3, 4, 4, 2)), context=ops.zeros((3,), "int32")).shape)
    (3, 4, 4, 4)
    """

    def build(self, z_shape: Shape, context_shape: Shape | None = None) -> None:
        _, height, width, channels = z_shape
        self.table = self.add_weight(
            shape=(self.num_classes or 1, height, width, 2 * channels), initializer="zeros", name="table"
        )

    def call(self, z: Tensor, context: Context = None) -> Tensor:
        if self.num_classes is None:
            return engine.tensor(self.table)
        return rows_of(self.table, context)
