"""Functions that keep their precision: float64 in, float64 out, with exact gradients, on JAX, PyTorch and TensorFlow.

Many functions of `keras.ops` compute in float32 what is given in float64, some even under the name of float64, and
each engine has others. Those that flows need are here in full precision; float32 stays float32, and integers and plain
numbers are treated as `keras.ops` treats them.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from flowkit.contract import Tensor
from flowkit.engines import engine

__all__ = [
    "arctan",
    "cos",
    "cumsum",
    "lgamma",
    "log1mexp",
    "log_sigmoid",
    "logaddexp",
    "matmul",
    "maximum",
    "mean",
    "minimum",
    "norm",
    "sin",
    "softplus",
    "solve_increasing",
    "tanh",
]


def arctan(x: Tensor) -> Tensor:
    """arctan x for each entry, between -pi/2 and pi/2."""
    return engine.function("arctan", *_alike(x))


def cos(x: Tensor) -> Tensor:
    """cos x for each entry."""
    return engine.function("cos", *_alike(x))


def cumsum(x: Tensor, axis: int | None = None) -> Tensor:
    """Running sums along `axis`; of all entries in one row if it is None."""
    return engine.cumsum(x, axis=axis)


def lgamma(x: Tensor) -> Tensor:
    """log|Gamma(x)| for each entry, which `keras.ops` lacks.

    >>> round(float(lgamma(5.0)), 4)  # log(4!)
    3.1781
    """
    return engine.lgamma(*_alike(x))


def log1mexp(x: Tensor) -> Tensor:
    """log(1 - exp(-x)) for each entry, x >= 0: -inf at 0, and exact both near 0 and far from it.

    >>> round(float(log1mexp(1e-30)), 3)  # log(1e-30)
    -69.078
    """
    (x,) = _alike(x)
    # Below log 2, 1 - exp(-x) would cancel; above, being near to 1, it would round (Maechler, 2012).
    near = x < math.log(2)
    far = ops.where(near, ops.ones_like(x), x)  # the branch not taken must have a finite gradient
    return ops.where(near, ops.log(-ops.expm1(-x)), ops.log1p(-ops.exp(-far)))


def log_sigmoid(x: Tensor) -> Tensor:
    """log(1 / (1 + exp(-x))) for each entry, exact in both tails."""
    return ops.log_sigmoid(*_alike(x))


def logaddexp(x1: Tensor, x2: Tensor) -> Tensor:
    """log(exp(x1) + exp(x2)) for each entry; -inf is the zero of this sum, with finite gradients.

    >>> float(logaddexp(-math.inf, 2.0))
    2.0
    """
    x1, x2 = _alike(x1, x2)
    first = x1 >= x2
    large, small = ops.where(first, x1, x2), ops.where(first, x2, x1)
    difference = small - large
    equal = ops.logical_and(large == small, ops.isinf(large))  # infinities, which have no difference
    return large + softplus(ops.where(equal, ops.zeros_like(difference), difference))


def matmul(x1: Tensor, x2: Tensor) -> Tensor:
    """The matrix product, as `keras.ops.matmul`."""
    return engine.matmul(x1, x2)


def maximum(x1: Tensor, x2: Tensor) -> Tensor:
    """The larger of both for each entry, which has the gradient; x2 has it if they are equal."""
    x1, x2 = _alike(x1, x2)
    return ops.where(x1 > x2, x1, x2)


def mean(x: Tensor, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Tensor:
    """The mean over `axis`, one or several; over all entries if it is None."""
    (x,) = _alike(x)
    return engine.mean(x, axis=axis, keepdims=keepdims)


def minimum(x1: Tensor, x2: Tensor) -> Tensor:
    """The smaller of both for each entry, which has the gradient; x2 has it if they are equal."""
    x1, x2 = _alike(x1, x2)
    return ops.where(x1 < x2, x1, x2)


def norm(x: Tensor, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Tensor:
    """The Euclidean length, the root of the sum of squares, along `axis`; its gradient at 0 is 0.

    Squares neither overflow nor vanish.

    >>> f"{float(norm([3e30, 4e30])):.3g}"
    '5e+30'
    """
    (x,) = _alike(x)
    axis = tuple(range(len(x.shape))) if axis is None else axis
    size = ops.stop_gradient(ops.sum(ops.abs(x), axis=axis, keepdims=True))
    one = ops.ones_like(size)
    scale = ops.where(ops.logical_and(size > 0, ops.isfinite(size)), size, one)
    squares = ops.sum(ops.square(x / scale), axis=axis, keepdims=True)
    zero = squares == 0  # the root has no slope there
    length = scale * ops.where(zero, squares, ops.sqrt(ops.where(zero, one, squares)))
    return length if keepdims else ops.squeeze(length, axis=axis)


def sin(x: Tensor) -> Tensor:
    """sin x for each entry."""
    return engine.function("sin", *_alike(x))


def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)) for each entry, exact in both tails; `keras.ops` gives x beyond 20 on PyTorch."""
    return engine.softplus(*_alike(x))


def tanh(x: Tensor) -> Tensor:
    """tanh x for each entry."""
    return engine.function("tanh", *_alike(x))


def solve_increasing(f: Callable[[Any], tuple[Any, Any]], y: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """x with f(x) = y for each entry; its gradients reach y and all that `f` closes over.

    `f(x)` gives (value, log_slope): a function that increases in each entry by itself, and the logarithm of its
    derivative. `low` and `high` are finite numbers, or tensors that broadcast to y's shape, with x between them. They
    may be far apart: the bracket is halved until its ends are neighbours in the type of `y`. So x is as exact as `f`,
    however steep or flat that is: the largest number with f(x) <= y as computed, or an end if y is out of reach.

    Calls `f` 35 times for float32 and 67 times for float64, of which one is differentiated. First derivatives only:
    second ones are wrong.

    >>> def cube(x):
    ...     return x**3, ops.log(3 * x**2)
    >>> float(solve_increasing(cube, 8.0, -1e6, 1e6))
    2.0
    """
    y, low, high = _alike(y, low, high)
    exponent, mantissa = _BITS[keras.backend.standardize_dtype(y.dtype)]
    tiny, most = 2.0 ** (2 - 2 ** (exponent - 1)), (2 ** (exponent - 1) - 1) * math.log(2)
    target, zeros = ops.stop_gradient(y), ops.zeros_like(y)
    start, end = ops.stop_gradient(low) + zeros, ops.stop_gradient(high) + zeros

    def geometric(low, high):
        size = ops.sqrt(ops.abs(low) + tiny) * ops.sqrt(ops.abs(high) + tiny)
        return ops.where(ops.logical_and(low < 0, high > 0), zeros, ops.sign(low + high) * size)

    def arithmetic(low, high):
        return 0.5 * low + 0.5 * high  # the sum could overflow

    def cut_at(middle):
        def cut(bracket):
            low, high = bracket
            x = middle(low, high)
            below = f(x)[0] <= target
            return ops.where(below, x, low), ops.where(below, high, x)

        return cut

    with engine.no_grad():
        # The sign, then the exponent, then the digits.
        bracket = engine.iterate(cut_at(geometric), 1 + exponent, (start, end))
        low, high = engine.iterate(cut_at(arithmetic), 1 + mantissa, bracket)
    # A number for which `f` was asked, so inside of an open bracket.
    x = ops.stop_gradient(ops.where(low > start, low, high))
    # A Newton step of no length, but with its gradients. A slope of 0 must not make it 0 * inf.
    value, log_slope = f(x)
    rest = y - value
    steepness = ops.exp(ops.clip(-ops.stop_gradient(log_slope), -most, most))
    return x + (rest - ops.stop_gradient(rest)) * steepness


# Type: bits of the exponent, bits of the mantissa.
_BITS = {"float64": (11, 53), "float32": (8, 24), "float16": (5, 11), "bfloat16": (8, 8)}


def _alike(*given):
    """Tensors of one floating-point type: float64 if one of them is; the others as `keras.ops` would have them."""
    if len(given) == 1 and ops.is_tensor(given[0]) and "float" in str(given[0].dtype):
        return given
    # A plain number has no type of its own.
    numbers: list[Any] = [x if isinstance(x, (int, float)) else ops.convert_to_tensor(x) for x in given]
    own = {keras.backend.standardize_dtype(x.dtype) for x in numbers if ops.is_tensor(x)}
    if "float64" in own:
        dtype = "float64"  # which `result_type` never says
    elif any("float" in name for name in own):
        dtype = keras.backend.result_type(*own)
    else:
        dtype = keras.config.floatx()
    return [ops.convert_to_tensor(x, dtype) for x in numbers]
