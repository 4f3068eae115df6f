"""Pass a context to networks: labels or vectors, into the first hidden layer, standardised before."""

import inspect
from typing import Any

import keras
import numpy as np
from keras import ops

from flowkit.contract import Conditioner, Context, ContractError, Shape, Tensor
from flowkit.contract.adaptation import adapted_flag
from flowkit.contract.arguments import Count, Fraction
from flowkit.contract.configured import Configured
from flowkit.contract.errors import shape_error
from flowkit.numerics import matmul, mean


def rows_of(table, labels, absent=None):
    """Return table[labels], labels (batch,), with NaN for a label without a row, on all engines.

    A label below 0 is no label if there is a row for it, `absent`.
    """
    labels = ops.cast(labels, "int32")
    there = ops.logical_and(labels >= 0, labels < table.shape[0])
    rows = ops.take(table, ops.where(there, labels, ops.zeros_like(labels)), axis=0)
    labels, there = (ops.reshape(a, (-1, *(1,) * (len(rows.shape) - 1))) for a in (labels, there))
    if absent is not None:
        rows, there = ops.where(there, rows, absent), labels < table.shape[0]
    # The ONNX of TensorFlow multiplies by the condition, and 0 x NaN is NaN, unless NaN is a constant.
    return ops.where(there, rows, np.nan)


def refuse_dict(owner, shape):
    """Raise ContractError of `owner` for several inputs by name, if it takes one."""
    if isinstance(shape, dict):
        received = f"a dict of {', '.join(map(repr, shape))}"
        hint = "Pass the flow an embedding= that makes one vector of them."
        raise ContractError("context", owner, expected="one tensor", received=received, hint=hint)


@keras.saving.register_keras_serializable("flowkit")
class ContextBias(Configured, keras.Layer):
    """context -> (batch, 1, ..., width), to be added to activations (batch, *places, width).

    With `num_classes`, the context is integer labels (batch,). Otherwise it is a vector (batch, k), or
    a map (batch, *places, k) with one vector for each place. A label below 0, no label, adds nothing for `absent`
    "zeros", the mean of all labels for "mean"; so does None for "mean".

    Raises ContractError for a context of another rank or size.
    """

    def __init__(self, width, *, num_classes=None, absent=None, **kwargs):
        super().__init__(**kwargs)
        self.width, self.num_classes, self.absent = width, num_classes, absent

    def build(self, context_shape):
        if context_shape is None and not self.num_classes:
            hint = "Pass context= when the flow is built or fitted, or make the network with context='none'."
            wanted = "a context, whose size the weights need"
            raise ContractError("context", self, expected=wanted, received="none", hint=hint)
        refuse_dict(self, context_shape)
        shape = (self.num_classes or context_shape[-1], self.width)
        self.kernel = self.add_weight(shape=shape, initializer="glorot_uniform", name="W", autocast=False)

    def call(self, context, rank):
        """Return the bias for activations of `rank`, batch included."""
        refuse_dict(self, context)
        kernel = ops.cast(self.kernel, self.compute_dtype)
        context = -ops.ones((1,), "int32") if context is None else context
        self._check(context.shape, rank)
        if self.num_classes:
            absent = mean(kernel, axis=0) if self.absent == "mean" else 0.0 if self.absent else None
            bias = rows_of(kernel, context, absent)
        else:
            bias = matmul(ops.cast(context, self.compute_dtype), kernel)
        return bias if len(bias.shape) == rank else ops.reshape(bias, (-1, *(1,) * (rank - 2), self.width))

    def _check(self, shape, rank):
        size = self.kernel.shape[0]
        if self.num_classes and len(shape) != 1:
            raise shape_error(self, "integer labels (batch,)", shape, clause="context")
        if not self.num_classes and (len(shape) not in (2, rank) or shape[-1] != size):
            wanted = f"vectors (batch, {size}), or one for each place, of rank {rank}"
            raise shape_error(
                self, wanted, shape, "For integer labels, give the network num_classes=.", clause="context"
            )


class ContextNetwork(Conditioner):
    """A network that adds a bias of the context to its first hidden layer.

    A subclass sets `bias` to `_context_bias(width)`, builds its own layers before those of this class, and calls
    `_add_context`. It passes **kwargs on: the signature of its `__init__` shows what its base takes by name.
    """

    bias: ContextBias | None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in vars(cls):
            own, base = inspect.signature(cls.__init__), inspect.signature(super(cls, cls).__init__)
            *named, last = own.parameters.values()
            others = [p for name, p in base.parameters.items() if name not in own.parameters]
            whole = [*named, *(p for p in others if p.kind is p.KEYWORD_ONLY), last]
            cls.__init__.__signature__ = own.replace(parameters=whole)  # type: ignore[attr-defined]

    def build(self, x_shape: Shape, context_shape: Shape | None = None) -> None:
        if self.bias is not None:
            self.bias.build(context_shape)

    def _context_bias(self, width, *, absent="zeros", **options):
        """Return the layer that makes the bias of a layer of `width`; None without a context."""
        if self.context == "none":
            if self.num_classes is not None:
                raise ValueError(
                    f"{type(self).__name__}'s num_classes: got {self.num_classes} with context='none', expected a "
                    "context that holds the labels. Pass context='required'."
                )
            return None
        absent = absent if self.num_classes and self.context == "optional" else None
        return ContextBias(
            width, num_classes=self.num_classes, absent=absent, dtype=self.dtype_policy, **options
        )

    def _add_context(self, h, context):
        """Return the first layer's answer `h`, with the bias of the context."""
        if self.bias is None or (context is None and self.bias.absent != "mean"):
            return h
        return h + self.bias.call(context, rank=len(h.shape))


class StandardizedContext(Configured, keras.Layer):
    """(context - mean) / std for each entry of the last axis: a flow's embedding if contexts are far from 0.

    For vectors (batch, k), and for series, sets and images (batch, ..., k) before a network that reads them, as in
    `keras.Sequential([StandardizedContext(), network])`. Mean and (biased) standard deviation are those of the contexts
    that `adapt` is given; they are stored, and never trained. Entries that do not vary are shifted to 0 alone. Whole
    numbers are taken as numbers, not as labels.

    Raises ContractError for labels, for a dict, and for another number of entries.

    >>> layer = StandardizedContext()
    >>> layer.build((None, 2))
    >>> layer.adapt(np.array([[100.0, 7.0], [102.0, 7.0]]))
    >>> ops.convert_to_numpy(layer(np.array([[102.0, 8.0]], "float32"))).tolist()
    [[1.0, 1.0]]
    """

    def build(self, context_shape: Shape) -> None:
        self._check(context_shape)
        shape = (context_shape[-1],)
        self.mean = self.add_weight(shape=shape, initializer="zeros", name="mean", trainable=False)
        self.scale = self.add_weight(shape=shape, initializer="ones", name="scale", trainable=False)
        self.flag = adapted_flag(self)

    def adapt(self, context: Context) -> None:
        self._check(getattr(context, "shape", context))
        context = ops.convert_to_numpy(context).astype("float64")
        context = context.reshape(-1, context.shape[-1])
        mean = context.mean(axis=0)
        self._set(mean, np.sqrt(np.square(context - mean).mean(axis=0)))

    def _set(self, mean, std):
        """Keep statistics of the entries, (k,) in float64."""
        varies = std > np.finfo("float32").eps * np.abs(mean)
        self.mean.assign(mean.astype(self.variable_dtype))
        self.scale.assign(np.where(varies, 1 / np.where(varies, std, 1.0), 1.0).astype(self.variable_dtype))
        self.flag.assign(True)

    def call(self, context: Context) -> Tensor:
        self._check(getattr(context, "shape", context))
        # In the weights' precision: a network in bfloat16 would round a column far from 0 before its mean is taken off.
        context = ops.cast(context, self.variable_dtype)
        return (context - self.mean.value) * self.scale.value

    def _check(self, shape):
        size = self.mean.shape[0] if self.built else "k"
        refuse_dict(self, shape)
        if len(shape) < 2 or size not in ("k", shape[-1]):
            hint = "Pass an embedding= that makes one vector of labels."
            if len(shape) > 1:
                hint = "Pass as many entries as in training."
            elif tuple(shape) == (size,):
                hint = "Pass one vector as a batch of one, context[None]."
            raise shape_error(self, f"vectors (batch, {size})", shape, hint, clause="context")

    def compute_output_shape(self, context_shape: Shape) -> Shape:
        return tuple(context_shape)


class LabelDropout(Configured, keras.Layer):
    """Labels (batch,), of which training replaces a part `rate` by -1, no label: an embedding of a flow.

    Networks with an optional context and `num_classes` take a label below 0 for no label. So they learn both densities,
    and `Flow.sample(guidance=)` can move samples away from the one without labels. Ho & Salimans, Classifier-Free
    Diffusion Guidance (2022).

    >>> ops.convert_to_numpy(LabelDropout(10, rate=0.5)(np.array([3, 7]))).tolist()  # not in training
    [3, 7]
    """

    def __init__(self, num_classes: Count, *, rate: Fraction = 0.1, **kwargs: Any) -> None:
        super().__init__(**{"autocast": False, **kwargs})
        self.num_classes, self.rate = num_classes, rate
        self.seeds = keras.random.SeedGenerator()

    def call(self, labels: Tensor, training: bool = False) -> Tensor:
        labels = ops.cast(labels, "int32")
        if not training or not self.rate:
            return labels
        dropped = keras.random.uniform(ops.shape(labels), seed=self.seeds) < self.rate
        return ops.where(dropped, -ops.ones_like(labels), labels)

    def compute_output_shape(self, labels_shape: Shape) -> Shape:
        return tuple(labels_shape)
