"""A multilayer perceptron that cannot stretch more than it is allowed to."""

from typing import Annotated, Any

import keras
from keras import ops

from flowkit.conditioners.context import ContextNetwork
from flowkit.contract import Context, Shape, Tensor
from flowkit.contract.arguments import Between0And1, ContextWord, Count, Widths, words
from flowkit.contract.derived import derive_from
from flowkit.contract.precision import full_precision
from flowkit.numerics import matmul, norm, sin, softplus

STEPS = 8
"""Of `spectral_bound`: for kernels of rank 256 the bound is then 0.5 per cent above the norm."""


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
        features: Count | None = None,
        activation: Annotated[str, words("lipswish", "sin")] = "lipswish",
        context: ContextWord = "none",
        num_classes: Count | None = None,
        dtype: str | keras.DTypePolicy | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            features=features,
            context=context,
            num_classes=num_classes,
            dtype=full_precision(dtype),
            **kwargs,
        )
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
        if self.bias is not None:
            self.bias.build(context_shape)

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
        derived = derive_from(self, x.shape) if derived is None else derived
        h = ops.cast(x, self.compute_dtype)
        for k, kernel in enumerate(derived["kernels"]):
            h = matmul(h, kernel) + derived["shifts"][k]
            h = self._steered(h, context) if k == 0 else h
            if k < len(self.hidden):
                h = sin(h) if self.activation == "sin" else h * ops.sigmoid(derived["betas"][k] * h) / 1.1
        return h
