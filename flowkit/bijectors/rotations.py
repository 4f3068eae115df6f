"""Rotations, and linear maps made of rotations."""

from typing import Annotated, Any

import numpy as np
from keras import ops

from flowkit.bijectors.linear import Linear, eye, triangle
from flowkit.bijectors.weights import new_weight
from flowkit.contract import BijectorSpec, ContractError, Tensor
from flowkit.contract.arguments import LARGEST, Count, Positive, whole_number
from flowkit.engines import engine
from flowkit.numerics import matmul, norm, tanh


def reflected(vectors: Tensor, columns: int | None = None) -> Any:
    """Return the first `columns` (None: all) of the orthogonal matrix H_1 H_2 ... H_k, H_i = I - 2 v_i v_i^T / |v_i|^2.

    `vectors` are (..., k, size), one v_i to a row, of any length but 0; the result is (..., size, columns). In
    compact WY form, I - V S^-1 V^T with S = striu(V^T V) + diag(|v_i|^2 / 2) for V with columns v_i (Joffrain et
    al., Accumulating Householder Transformations, Revisited, 2006): products and one triangular solve in place of k
    steps one after another. No entry of S^-1 is above 4 for vectors of length 1, so none of this can lose digits.

    >>> ops.convert_to_numpy(reflected(ops.convert_to_tensor([[3.0, 0.0]]))).tolist()
    [[-1.0, 0.0], [0.0, 1.0]]
    """
    rows, size = vectors.shape[-2:]
    columns = size if columns is None else columns
    vectors = vectors / norm(vectors, axis=-1, keepdims=True)  # so that their squares fit into the type
    columnwise = ops.swapaxes(vectors, -1, -2)
    inner = ops.triu(matmul(vectors, columnwise), 1) + 0.5 * eye(rows, vectors)
    return eye(size, vectors)[:, :columns] - matmul(
        columnwise, engine.solve_triangular(inner, vectors[..., :columns], lower=False)
    )


def even(number: Any, name: str) -> int:
    """Return `number`. Raises ValueError unless it is even and above 0: an odd number makes no rotation."""
    number = whole_number(number, name, least=2, most=LARGEST)
    if number % 2:
        raise ValueError(f"{name}: got {number}, expected an even number, which makes a rotation.")
    return number


Even = Annotated[int, even]


class Reflected(Linear):
    """A linear map with rotations made of `reflections`, an even number of them; None: one for each channel."""

    def __init__(self, reflections: Even | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.reflections = reflections

    def _vectors(self, channels, rotations=1):
        """Return the vectors of each rotation at the start: drawn, or in equal pairs, which undo each other."""
        number = channels + channels % 2 if self.reflections is None else self.reflections
        drawn = self._drawn(rotations, number, channels)
        return drawn if self.init == "random" else np.repeat(drawn[:, : number // 2], 2, axis=1)


class Rotation(Linear):
    """Base class of `HouseholderRotation` and `CayleyRotation`: the log-det is 0."""

    spec = BijectorSpec(log_det="zero")

    def log_abs_det(self) -> Tensor:
        """Return 0.0, as of every rotation."""
        return 0.0


class HouseholderRotation(Rotation, Reflected):
    """z = x Q + b with a rotation Q = H_1 H_2 ... H_k, H_i = I - 2 v_i v_i^T / |v_i|^2; log-det = 0.

    `reflections` is k, an even number; None takes as many as there are channels (one more if that is odd), with which
    every rotation can be reached, and fewer reach those that leave more directions alone. Q is put together by matrix
    products (compact WY form), and its inverse is its transpose.

    `init="random"` starts at a product of random reflections drawn from `seed`, in place of the identity (pairs of
    equal v_i); `bias` adds a learned b. Events have any rank; the last axis is turned.

    Raises ValueError for another `init` or an odd number. Tomczak & Welling, Improving Variational Auto-Encoders
    using Householder Flow (2016).

    >>> z, log_det = HouseholderRotation(init="random", seed=0)(ops.ones((1, 4)))
    >>> round(float(ops.sum(z * z)), 4)  # a rotation keeps lengths
    4.0
    """

    def _build(self, channels):
        self.vectors = new_weight(self, "vectors", self._vectors(channels)[0])

    def matrix(self, inverse: bool = False) -> Tensor:
        """Return Q, or its transpose."""
        matrix = reflected(self.vectors.value)
        return ops.swapaxes(matrix, -1, -2) if inverse else matrix


class CayleyRotation(Rotation):
    """z = x Q + b with a rotation Q = (I - A) (I + A)^-1, A = M - M^T; log-det = 0.

    I + A can always be inverted, as A is antisymmetric. Every rotation that turns no plane by half a turn is reached;
    Q's inverse is its transpose.

    `init="random"` starts at a random rotation drawn from `seed`, in place of the identity; `bias` adds a learned b.
    Events have any rank; the last axis is turned.

    Raises ValueError for another `init`. Cayley (1846); Golinski, Lezcano-Casado & Rainforth, Improving Normalizing
    Flows via Better Orthogonal Parameterizations (2019).

    >>> z, log_det = CayleyRotation(init="random", seed=0)(ops.ones((1, 4)))
    >>> round(float(ops.sum(z * z)), 4)  # a rotation keeps lengths
    4.0
    """

    def _build(self, channels):
        start = np.zeros((channels, channels))
        if self.init == "random":
            start = self._drawn(channels, channels) / np.sqrt(channels)
        self.raw = new_weight(self, "M", start)

    def matrix(self, inverse: bool = False) -> Tensor:
        """Return Q, or its transpose."""
        raw = engine.tensor(self.raw)
        skew = raw - ops.swapaxes(raw, -1, -2)
        one = eye(raw.shape[-1], raw)
        # With -A in place of A comes the transpose; both factors commute.
        skew = -skew if inverse else skew
        return ops.solve(one + skew, one - skew)


class QRLinear(Reflected):
    """z = x W + b with W = Q R, log-det = places * sum(log r_ii), at every place of an event of any rank.

    Q = H_1 H_2 ... H_k is a rotation made of reflections, as in `HouseholderRotation`; R is upper triangular, and r_ii
    are softplus functions of weights, above 0.001: W cannot become singular. Its inverse is a transpose and a
    triangular solve.

    `init="random"` starts at a random rotation drawn from `seed`, in place of the identity; `bias` adds a learned b.

    Raises ValueError for another `init` or an odd number of `reflections`. Hoogeboom, van den Berg & Welling, Emerging
    Convolutions for Generative Normalizing Flows (2019).

    >>> z, log_det = QRLinear()(ops.ones((5, 3)))
    >>> float(log_det[0])  # it starts at the identity
    0.0
    """

    def _build(self, channels):
        self.vectors = new_weight(self, "vectors", self._vectors(channels)[0])
        self.upper = new_weight(self, "R", np.zeros((channels, channels)))
        self.raw = new_weight(self, "raw_diagonal", np.zeros(channels))

    def matrix(self, inverse: bool = False) -> Tensor:
        """Return Q R, or its inverse."""
        rotation = reflected(self.vectors.value)
        upper = triangle(self.upper.value, self._sizes())
        if inverse:
            return engine.solve_triangular(upper, ops.swapaxes(rotation, -1, -2), lower=False)
        return matmul(rotation, upper)


class SVDLinear(Reflected):
    """z = x W + b with W = U diag(s) V, log-det = places * sum(log s), at every place of an event of any rank.

    U and V are rotations made of reflections, as in `HouseholderRotation`, each of `reflections` of them. log s =
    bound * tanh(weights / bound), so W stretches by no more than exp(bound) and shrinks by no more, and its condition
    number stays below exp(2 bound). Its inverse is transposes.

    `init="random"` starts at a random rotation drawn from `seed`, in place of the identity; `bias` adds a learned b.

    Raises ValueError for another `init`, an odd number of `reflections`, or a bound that is not above 0. Zhang, Lei &
    Dhillon, Stabilizing Gradients for Deep Neural Networks via Efficient SVD Parameterization (2018).

    >>> z, log_det = SVDLinear()(ops.ones((5, 3)))
    >>> float(log_det[0])  # it starts at the identity
    0.0
    """

    def __init__(self, reflections: Even | None = None, *, bound: Positive = 4.0, **kwargs: Any) -> None:
        super().__init__(reflections, **kwargs)
        self.bound = bound

    def _build(self, channels):
        first, second = self._vectors(channels, rotations=2)
        self.first, self.second = new_weight(self, "U", first), new_weight(self, "V", second)
        self.raw = new_weight(self, "raw_log_s", np.zeros(channels))

    def _log_s(self):
        return self.bound * tanh(self.raw.value / self.bound)

    def matrix(self, inverse: bool = False) -> Tensor:
        """Return U diag(s) V, or its inverse."""
        left, right = reflected(self.first.value), reflected(self.second.value)
        if inverse:
            left, right = ops.swapaxes(right, -1, -2), ops.swapaxes(left, -1, -2)
        log_s = -self._log_s() if inverse else self._log_s()
        return matmul(left * ops.exp(log_s)[..., None, :], right)

    def log_abs_det(self) -> Tensor:
        """Return sum(log s)."""
        return ops.sum(self._log_s(), axis=-1)


class Woodbury(Linear):
    """z = x + (x U) V + b with U (channels, rank) and V (rank, channels), log-det = places * sum(log t_ii).

    It costs 2 channels * rank products for a place, not channels^2. Free U and V could make I + U V singular. Here V
    has orthonormal rows, made of `rank` reflections, and U = V^T (T - I) + (I - V^T V) B with any B and an upper
    triangular T, of which t_ii are softplus functions of weights, above 0.001. So I + V U = T, det(I + U V) =
    det T > 0, and the inverse is I - U T^-1 V (Woodbury, 1950): invertible by construction. What this leaves out of
    all U and V: those for which V U has complex eigenvalues, or I + V U negative ones. A rotation beside it makes up
    for it.

    It starts at the identity (T = I, B = 0); with `init="random"` at a random change of the size of 1, not at a
    rotation. `bias` adds a learned b. Events have any rank; the last axis is multiplied.

    Raises ContractError for fewer channels than `rank`, ValueError for another `init`. Lu & Huang, Woodbury
    Transformations for Deep Generative Flows (2020).

    >>> z, log_det = Woodbury(rank=2)(ops.ones((5, 8)))
    >>> float(log_det[0])  # it starts at the identity
    0.0
    """

    def __init__(self, rank: Count = 4, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rank = rank

    def _build(self, channels):
        if channels < self.rank:
            wanted = f"at least rank={self.rank} channels"
            raise ContractError("event shape", self, expected=wanted, received=f"{channels}")
        vectors, free = self._drawn(2, self.rank, channels)
        size = 1.0 if self.init == "random" else 0.0
        self.vectors = new_weight(self, "vectors", vectors)
        self.free = new_weight(self, "B", size * free.T / np.sqrt(channels))
        self.upper = new_weight(self, "T", np.zeros((self.rank, self.rank)))
        self.raw = new_weight(self, "raw_diagonal", np.zeros(self.rank))

    def factors(self, inverse: bool = False) -> tuple[Any, Any]:
        """Return U and V of I + U V, the map or its inverse: (channels, rank) and (rank, channels)."""
        columns = reflected(self.vectors.value, self.rank)  # V^T
        rows = ops.swapaxes(columns, -1, -2)
        upper = triangle(self.upper.value, self._sizes())
        free = self.free.value - matmul(columns, matmul(rows, self.free.value))
        left = matmul(columns, upper - eye(self.rank, upper)) + free
        return left, -engine.solve_triangular(upper, rows, lower=False) if inverse else rows

    def matrix(self, inverse: bool = False) -> Tensor:
        """Return I + U V, or its inverse, (channels, channels)."""
        left, right = self.factors(inverse)
        return eye(left.shape[-2], left) + matmul(left, right)

    def _times(self, x, factors):
        left, right = factors
        return x + matmul(matmul(x, left), right)
