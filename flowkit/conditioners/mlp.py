"""Dense layers and multilayer perceptrons: plain, residual, of angles, and with a bounded Lipschitz constant."""

from collections.abc import Sequence
from typing import Annotated, Any

import keras
from keras import ops

from flowkit.conditioners.context import ContextNetwork, refuse_dict
from flowkit.contract import Context, ContractError, Shape, Tensor
from flowkit.contract.arguments import Between0And1, Blocks, Count, Widths, shown, whole_numbers, words
from flowkit.contract.columns import pick
from flowkit.contract.precision import full_precision
from flowkit.engines import engine
from flowkit.numerics import cos, matmul, norm, sin, softplus, tanh


def activation_of(given: Any, name: str) -> Any:
    """Return the activation that a name, a config, a function or a layer stands for.

    Raises ValueError for anything else, such as a class of Keras: called, it would make a layer.

    >>> activation_of("relu", "MLP's activation").__name__
    'relu'
    """
    try:
        found = keras.activations.get(given)
    except Exception:  # a config from a file may fail in any way
        found = None
    if not callable(found) or isinstance(found, type | keras.Model):
        raise ValueError(
            f"{name}: got {shown(given)}, expected a name such as 'relu', a function or a layer such as PReLU()."
        )
    return found


Activation = Annotated[Any, activation_of]


def activate(activation, h, keep=False):
    """Return `activation(h)`. Nothing else may read `h`, which may be overwritten, unless it is kept."""
    if activation is keras.activations.relu and not keep:
        return engine.rectify(h)
    # On JAX Keras's tanh rounds float64 to float32.
    return tanh(h) if activation is keras.activations.tanh else activation(h)


class Dense(keras.layers.Dense):
    """x W + b on the last axis: Keras's layer, in one call of the engine.

    With quantised or low-rank weights, which Keras can give it later, it computes what Keras's does.
    """

    def build(self, input_shape):
        super().build(input_shape)
        self._keep_for_calls()

    def enable_lora(self, *given, **options):
        super().enable_lora(*given, **options)
        self._keep_for_calls()

    def quantize(self, *given, **options):
        super().quantize(*given, **options)
        self._keep_for_calls()

    def _keep_for_calls(self):
        """Keep what calls read: Keras finds its kernel anew each time, which takes as long as the product."""
        plain = not self.lora_enabled and self.quantization_mode is None
        vars(self)["plain"] = (self.kernel, self.bias) if plain else None

    def derive(self):
        """Return the kernel and bias that `call` uses, or None for quantised or low-rank weights."""
        if self.plain is None:
            return None
        kernel, bias = self.plain
        dtype = self.compute_dtype
        if dtype != self.variable_dtype:
            return {"kernel": ops.cast(kernel.value, dtype), "bias": ops.cast(bias.value, dtype)}
        return {"kernel": kernel.value, "bias": bias.value}

    def call(self, x, derived=None):
        derived = derived or self.derive()
        return super().call(x) if derived is None else engine.dense(x, **derived)


class DenseNetwork(ContextNetwork):
    """A network on the last axis that ends in a linear layer, (features), which starts at zero.

    A subclass makes its `hidden_layers`, one after another, and then its `bias`, and computes them in
    `_hidden(x, context, derived)`; `derived` has the weights of each.
    """

    def __init__(self, *, activation: Activation = "relu", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activation = activation

    def _dense(self, units, **options):
        return Dense(units, dtype=self.dtype_policy, **options)

    def build(self, x_shape: Shape, context_shape: Shape | None = None) -> None:
        refuse_dict(self, x_shape)
        width = len(self._places_seen(x_shape[-1]))
        for layer in self.hidden_layers:
            layer.build((*x_shape[:-1], width))
            width = layer.units
        self.last = self._dense(self.features, kernel_initializer="zeros")
        self.last.build((*x_shape[:-1], width))
        super().build(x_shape, context_shape)

    def _places_seen(self, size):
        """Return the place in x of each input of the first layer, for x of `size` entries."""
        return range(size)

    def _derive(self, x_shape: Shape) -> dict[str, Any]:
        return {"layers": [layer.derive() for layer in (*self.hidden_layers, self.last)]}

    def call(self, x: Tensor, context: Context = None, derived: dict[str, Tensor] | None = None) -> Tensor:
        of_layers = [None] * (len(self.hidden_layers) + 1) if derived is None else derived["layers"]
        return self.last.call(self._hidden(x, context, of_layers[:-1]), of_layers[-1])


class MLP(DenseNetwork):
    """Dense layers of the given widths on the last axis, then a linear one (features) that starts at zero.

    `context` ("none", "optional", "required") enters as a bias of the first hidden layer: labels (batch,)
    with `num_classes`, or vectors (batch, k).

    >>> from keras import ops
    >>> tuple(MLP([64, 64], features=4)(ops.ones((8, 3))).shape)
    (8, 4)
    """

    def __init__(self, hidden: Widths = (64, 64), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hidden = hidden
        self.hidden_layers = [self._dense(width) for width in self.hidden]
        self.bias = self._context_bias(self.hidden[0])

    def _hidden(self, x, context, derived):
        h = self.hidden_layers[0].call(x, derived[0])
        h = activate(self.activation, h if context is None else self._add_context(h, context))
        for dense, own in zip(self.hidden_layers[1:], derived[1:], strict=True):
            h = activate(self.activation, dense.call(h, own))
        return h


class ResidualMLP(DenseNetwork):
    """A dense layer of `width`, `blocks` times h + dense(f(dense(f(h)))), then a linear one (features).

    f is the `activation`. The linear one starts at zero, and so does the last layer of each block, which begins as the
    identity. `context` ("none", "optional", "required") enters as a bias of the first layer: labels (batch,) with
    `num_classes`, or vectors (batch, k).

    - `gated`: what a block adds is multiplied by a sigmoid of a linear map of the context as well, as in nflows.
    - `activate_last`: f comes before the last layer too.
    - `damped`: what the last layer reads is divided by the square root of `width`, so that its answer changes less in a
      step of Adam. With few data splines then learn more before they begin to memorise; nflows does the same.

    Raises ValueError for `gated` without a context. He, Zhang, Ren & Sun, Identity Mappings in Deep Residual Networks
    (2016); as used by Durkan, Bekasov, Murray & Papamakarios, Neural Spline Flows (2019).

    >>> from keras import ops
    >>> tuple(ResidualMLP(32, features=4)(ops.ones((8, 3))).shape)
    (8, 4)
    """

    def __init__(
        self,
        width: Count = 64,
        *,
        blocks: Blocks = 2,
        gated: bool = False,
        activate_last: bool = True,
        damped: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if gated and self.context == "none":
            raise ValueError(
                "ResidualMLP's context: got 'none' for gated=True, expected a context to make the gates of. Pass "
                "context='required'."
            )
        self.width, self.blocks, self.gated, self.activate_last = width, blocks, gated, activate_last
        self.damped = damped
        layers = [self._dense(width)]
        for _ in range(blocks):
            layers += [self._dense(width), self._dense(width, kernel_initializer="zeros")]
        self.hidden_layers = layers
        self.bias = self._context_bias(self.width)
        self.gates = [self._context_bias(self.width) for _ in range(self.blocks)] if gated else []

    def build(self, x_shape: Shape, context_shape: Shape | None = None) -> None:
        super().build(x_shape, context_shape)
        self.gate_biases = []
        for number, gate in enumerate(self.gates):
            gate.build(context_shape)
            name = f"gate_{number}"
            self.gate_biases.append(self.add_weight(shape=(self.width,), initializer="zeros", name=name))

    def _hidden(self, x, context, derived):
        first, *inner = zip(self.hidden_layers, derived, strict=True)
        h = self._add_context(first[0].call(x, first[1]), context)
        for number, (one, two) in enumerate(zip(inner[::2], inner[1::2], strict=True)):
            more = activate(self.activation, h, keep=True)
            more = activate(self.activation, one[0].call(more, one[1]))
            h = h + self._let_through(two[0].call(more, two[1]), number, context)
        h = activate(self.activation, h) if self.activate_last else h
        return h * self.width**-0.5 if self.damped else h

    def _let_through(self, more, number, context):
        """Return what a block adds, times its gate if there is one."""
        if not self.gates or context is None:
            return more
        gate = self.gates[number].call(context, rank=len(more.shape))
        return more * ops.sigmoid(gate + ops.cast(self.gate_biases[number], gate.dtype))


def places_of_angles(angles: Sequence[int], name: str) -> list[int]:
    """Return places of columns, in ascending order. Raises ValueError unless they are whole numbers from 0 up."""
    return sorted(set(whole_numbers(angles, name)))


Places = Annotated[Sequence[int], places_of_angles]


class Angular(DenseNetwork):
    """Mixin of a network that sees the cosines and sines of the columns at `angles`, None for all."""

    def __init__(self, hidden: Widths = (64, 64), *, angles: Places | None = None, **kwargs: Any) -> None:
        super().__init__(hidden, **kwargs)
        self.angles = angles

    def build(self, x_shape: Shape, context_shape: Shape | None = None) -> None:
        check_places(self, self.angles, x_shape[-1])
        super().build(x_shape, context_shape)

    def _places_seen(self, size):
        others, angles = _split_places(size, self.angles)
        return [*others, *angles, *angles]

    def _hidden(self, x, context, derived):
        return super()._hidden(without_seam(x, self.angles), context, derived)


class AngularMLP(Angular, MLP):
    """An `MLP` that is given angles and sees their cosines and sines: what it answers has no jump at -pi.

    `angles` are the places of the columns that are angles, from 0; others it sees as they are. None: all are. The other
    arguments are those of `MLP`. Raises ContractError, when it is built, for a place beyond the columns.

    >>> import math
    >>> net = AngularMLP([8], features=2)
    >>> h = net(ops.convert_to_tensor([[-math.pi], [math.pi]]))
    >>> bool(ops.all(ops.abs(h[0] - h[1]) < 1e-5))
    True
    """


def check_places(owner: Any, angles: Sequence[int] | None, size: int) -> None:
    """Raise ContractError of `owner`, a network, for angles beyond the `size` columns that it is given."""
    if angles and angles[-1] >= size:
        wanted = f"angles at places from 0 to {size - 1}, for {size} columns"
        hint = "In a coupling of halves a network is given those that are kept alone."
        hint = hint if isinstance(owner, AngularMLP) else None
        raise ContractError(
            "event shape", owner, expected=wanted, received=f"the place {angles[-1]}", hint=hint
        )


def without_seam(x: Tensor, angles: Sequence[int] | None) -> Any:
    """Return columns as a network sees them: those at `angles` (None: all) as cosines and sines."""
    others, angles = _split_places(x.shape[-1], angles)
    if not angles:
        return x
    turned = pick(x, angles)
    seen = [cos(turned), sin(turned)]
    return ops.concatenate([pick(x, others), *seen] if others else seen, axis=-1)


def _split_places(size, angles):
    """Return the places that are no angles, and those that are."""
    angles = list(range(size)) if angles is None else angles
    return [place for place in range(size) if place not in angles], angles


STEPS = 8
"""Steps of `spectral_bound`: with 8 the bound of kernels of rank 256 is 0.5 per cent above the norm."""


def spectral_bound(kernel: Tensor) -> Any:
    """Return an upper bound of the largest singular value of a matrix, never below it and close above.

    By Gram iteration: G = W^T W, then G <- (G / |G|)^2 again and again; the Frobenius norm of the last is no less than
    its largest eigenvalue, and exceeds it by less and less. No state, unlike power iteration, which approaches from
    below: a norm that is too small lets a map through that cannot be inverted. Delattre et al., Efficient Bound of
    Lipschitz Constant for Convolutional Layers by Gram Iteration (2023).

    >>> round(float(spectral_bound(ops.convert_to_tensor([[3.0, 0.0], [0.0, 4.0]]))), 4)
    4.0
    """
    axes = (-2, -1)
    length = norm(kernel, axis=axes, keepdims=True)
    zero = length == 0
    # What each step divides by cancels in the end, so it need not carry gradients.
    length = ops.stop_gradient(ops.where(zero, ops.ones_like(length), length))
    scaled = ops.where(zero, ops.ones_like(kernel), kernel / length)
    other = ops.swapaxes(scaled, -1, -2)
    gram = matmul(scaled, other) if kernel.shape[-2] < kernel.shape[-1] else matmul(other, scaled)
    log_bound, share = ops.log(length), 0.5
    for _ in range(STEPS):
        length = ops.stop_gradient(norm(gram, axis=axes, keepdims=True))
        log_bound = log_bound + share * ops.log(length)
        gram, share = matmul(gram / length, gram / length), share / 2
    bound = ops.exp(log_bound + share * ops.log(norm(gram, axis=axes, keepdims=True)))
    return ops.where(zero, ops.zeros_like(bound), bound)[..., 0, 0]


class LipschitzMLP(ContextNetwork):
    """Dense layers on the last axis with |f(x) - f(y)| <= lipschitz * |x - y|, for `Residual`; the last starts at zero.

    Of n dense layers each has a largest singular value of at most lipschitz^(1/n): a kernel with a larger one, by
    `spectral_bound`, is divided by what is too much. The bound is part of the function and holds after any step of
    training. The activation stretches by at most 1: "lipswish", x sigmoid(softplus(beta) x) / 1.1 with a learned beta
    for each layer, or "sin". A context enters as a bias of the first hidden layer, as in `MLP`. It computes in at
    least float32 under every policy.

    Raises ValueError for another activation, or a `lipschitz` that is not between 0 and 1. Chen, Behrmann, Duvenaud &
    Jacobsen, Residual Flows for Invertible Generative Modeling (2019).

    >>> tuple(LipschitzMLP([64, 64], features=3)(ops.ones((8, 3))).shape)
    (8, 3)
    """

    def __init__(
        self,
        hidden: Widths = (64, 64),
        *,
        lipschitz: Between0And1 = 0.9,
        activation: Annotated[str, words("lipswish", "sin")] = "lipswish",
        dtype: str | keras.DTypePolicy | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(dtype=full_precision(dtype), **kwargs)
        self.hidden, self.lipschitz, self.activation = hidden, lipschitz, activation
        self.bias = self._context_bias(self.hidden[0])

    def build(self, x_shape: Shape, context_shape: Shape | None = None) -> None:
        sizes = [x_shape[-1], *self.hidden, self.features]
        self.kernels, self.shifts, self.betas = [], [], []
        for k, size in enumerate(sizes[1:]):
            last = k == len(self.hidden)
            start = "zeros" if last else "glorot_uniform"
            self.kernels.append(self.add_weight(shape=(sizes[k], size), initializer=start, name=f"W_{k}"))
            self.shifts.append(self.add_weight(shape=(size,), initializer="zeros", name=f"b_{k}"))
            if self.activation == "lipswish" and not last:
                half = keras.initializers.Constant(0.5)
                self.betas.append(self.add_weight(shape=(), initializer=half, name=f"beta_{k}"))
        super().build(x_shape, context_shape)

    def scaled_kernels(self) -> list[Any]:
        """Return the kernels as they are used, none of which stretches by more than lipschitz^(1/n)."""
        most = self.lipschitz ** (1 / len(self.kernels))
        scales = [ops.maximum(1.0, spectral_bound(k.value) / most) for k in self.kernels]
        return [k.value / scale[..., None, None] for k, scale in zip(self.kernels, scales, strict=True)]

    def _derive(self, x_shape: Shape) -> dict[str, Any]:
        return {
            "kernels": self.scaled_kernels(),
            "shifts": [shift.value for shift in self.shifts],
            "betas": [softplus(beta.value) for beta in self.betas],
        }

    def call(self, x: Tensor, context: Context = None, derived: dict[str, Tensor] | None = None) -> Tensor:
        derived = self._derive(x.shape) if derived is None else derived
        h = ops.cast(x, self.compute_dtype)
        for k, kernel in enumerate(derived["kernels"]):
            h = matmul(h, kernel) + derived["shifts"][k]
            h = self._add_context(h, context) if k == 0 else h
            if k < len(self.hidden):
                h = sin(h) if self.activation == "sin" else h * ops.sigmoid(derived["betas"][k] * h) / 1.1
        return h
