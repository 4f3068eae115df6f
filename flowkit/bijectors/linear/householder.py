"""Rotations as products of reflections."""

from typing import Annotated, Any

import keras
import numpy as np
from keras import ops

from flowkit.bijectors.linear.linear import Linear, eye
from flowkit.contract import BijectorSpec
from flowkit.contract.arguments import LARGEST, whole_number
from flowkit.numerics import matmul, norm


def reflected(vectors: Any, columns: int | None = None) -> Any:
    """The first `columns` (None: all) of the orthogonal matrix H_1 H_2 ... H_k, H_i = I - 2 v_i v_i^T / |v_i|^2.

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
        columnwise, ops.solve_triangular(inner, vectors[..., :columns], lower=False)
    )


def reflections(number: int | None, size: int) -> int:
    """How many reflections make a rotation of `size` channels: the `number` asked, or an even one from `size` up."""
    return size + size % 2 if number is None else number


def even(number: Any, name: str) -> int:
    """Return `number`. Raises ValueError unless it is even and above 0: an odd number makes no rotation."""
    number = whole_number(number, name, least=2, most=LARGEST)
    if number % 2:
        raise ValueError(f"{name}: expected an even number, which makes a rotation, received {number}.")
    return number


Even = Annotated[int, even]


def first_vectors(drawn: np.ndarray, init: str) -> np.ndarray:
    """Where the vectors of a rotation start: as drawn, or in pairs of equal ones, which undo each other."""
    return drawn if init == "random" else np.repeat(drawn[: len(drawn) // 2], 2, axis=0)


@keras.saving.register_keras_serializable("flowkit")
class HouseholderRotation(Linear):
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

    pure = True
    spec = BijectorSpec(log_det="zero")

    def __init__(self, reflections: Even | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.reflections = reflections

    def _build(self, channels):
        drawn = self._drawn(reflections(self.reflections, channels), channels)
        self.vectors = self._learned("vectors", first_vectors(drawn, self.init))

    def matrix(self, inverse: bool = False) -> Any:
        """Q, or its transpose."""
        matrix = reflected(self.vectors.value)
        return ops.swapaxes(matrix, -1, -2) if inverse else matrix

    def log_abs_det(self) -> Any:
        """0.0, as of every rotation."""
        return 0.0
