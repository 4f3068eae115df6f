"""A linear Gaussian model of vectors, given a context or not, that `adapt` fits in closed form."""

from typing import Annotated, Any

import numpy as np
from keras import ops

from flowkit.bijectors.affine import column_statistics
from flowkit.bijectors.linear import FLOOR, eye, triangle
from flowkit.contract import Bijector, BijectorSpec, Shape
from flowkit.contract.adaptation import adapted_flag
from flowkit.contract.arguments import words
from flowkit.contract.errors import shape_error
from flowkit.engines import engine


class LinearGaussian(Bijector):
    """z = L^-1 (x - A c - b) for vectors x (batch, d) and c (batch, k), log-det = -sum(log L_ii).

    L is lower triangular with a positive diagonal. `context` is "required", or "none": then z = L^-1 (x - b). Under a
    standard normal base, x given c is normal with mean A c + b and covariance L L^T.

    `adapt(x, c)` sets A, b and L in closed form, in float64, and training goes on from there. Until then the layer
    refuses to work.

    - A and b are a ridge regression of x on c. The penalty of each column is the one with the least squared error on
      rows left out one by one.
    - L L^T is the covariance of the residuals, with their correlations shrunk as by Ledoit and Wolf. With a context,
      these are the residuals of rows left out: those of the regression's own rows are too small if rows are few.
    - A column that is a linear function of others, or of c, keeps at least about 0.001 of its deviation.

    Trained weights are those of x and c in units of deviations, so that a step of training changes columns of
    different scales alike. `Flow.fit` adapts the layer to up to 10,000 rows.

    `adapt` raises what `Standardize` raises, for a column that does not vary, for example. A context of another shape
    raises ContractError. Ledoit & Wolf, A Well-Conditioned Estimator for Large-Dimensional Covariance
    Matrices (2004).

    >>> c = np.random.default_rng(0).normal(size=(500, 1)).astype("float32")
    >>> x = np.concatenate([3 * c, 5 - c], axis=1) + np.random.default_rng(1).normal(size=(500, 2))
    >>> z, log_det = LinearGaussian(context="required").adapt(x, c)(x, c)
    >>> bool(abs(np.cov(ops.convert_to_numpy(z).T) - np.eye(2)).max() < 0.1)
    True
    """

    rows_to_adapt = 10_000

    def __init__(self, *, context: Annotated[str, words("none", "required")] = "none", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.context = context
        self.spec = BijectorSpec(event_rank=1, log_det="constant", context=context)

    def build(self, x_shape: Shape, context_shape: Shape | None = None) -> None:
        size = x_shape[-1]
        self.mean = self.add_weight(shape=(size,), initializer="zeros", name="mean", trainable=False)
        self.upper = self.add_weight(shape=(size, size), initializer="zeros", name="U")
        self.log_diagonal = self.add_weight(shape=(size,), initializer="zeros", name="log_diagonal")
        self.shift = self.add_weight(shape=(size,), initializer="zeros", name="b")
        if self.context == "required":
            vectors = isinstance(context_shape, tuple | list) and len(context_shape) == 2
            self.entries = context_shape[-1] if vectors else "k"
            self._check_context(context_shape)
            self.slope = self.add_weight(shape=(self.entries, size), initializer="zeros", name="A")
            of_context = {"shape": (self.entries,), "trainable": False}
            self.context_mean = self.add_weight(initializer="zeros", name="context_mean", **of_context)
            self.context_std = self.add_weight(initializer="ones", name="context_std", **of_context)
        self.flag = adapted_flag(self)

    def _check_context(self, context):
        """Raise ContractError unless a context, or its shape, is of vectors of as many entries."""
        shape = tuple(getattr(context, "shape", context) or ())
        if shape[1:] != (self.entries,):
            hint = "Pass the flow an embedding= that makes one vector of each context."
            raise shape_error(self, f"vectors (batch, {self.entries})", shape, hint, clause="context")

    # z = (x - mean) / diag(L) U - (c - context_mean) / context_std A - b, with L^-T = diag(L)^-1 U, U of ones on its
    # diagonal. What is trained then counts in deviations of z, and only the inverse solves a system.

    def _derive(self, x_shape, inverse):
        log_diagonal = self.log_diagonal.value
        factor = triangle(self.upper.value, ops.ones_like(log_diagonal))
        if inverse:
            identity = eye(x_shape[-1], factor) + ops.zeros_like(factor)
            factor = engine.solve_triangular(factor, identity, lower=False)
        log_det = ops.sum(log_diagonal, axis=-1)
        derived = {
            "factor": factor,
            "scale": ops.exp(log_diagonal if inverse else -log_diagonal),
            "mean": self.mean.value,
            "shift": self.shift.value,
            "log_det": log_det if inverse else -log_det,
        }
        if self.context == "required":
            derived["context_mean"], derived["context_std"] = self.context_mean.value, self.context_std.value
            derived["slope"] = self.slope.value
        return derived

    def _predicted(self, context, derived):
        """Return what is subtracted from standardised residuals: b, and A times a standardised context."""
        if self.context == "none":
            return derived["shift"]
        self._check_context(context)
        context = ops.cast(context, self.compute_dtype)
        context = (context - derived["context_mean"]) / derived["context_std"]
        return engine.matmul(context, derived["slope"]) + derived["shift"]

    def _forward(self, x, context=None, derived=None):
        # The mean first, so that columns far from 0 keep their digits.
        z = engine.matmul((x - derived["mean"]) * derived["scale"], derived["factor"])
        return z - self._predicted(context, derived), derived["log_det"]

    def _inverse(self, z, context=None, derived=None):
        z = z + self._predicted(context, derived)
        return engine.matmul(z, derived["factor"]) * derived["scale"] + derived["mean"], derived["log_det"]

    def _adapt(self, x, context=None):
        mean, std = column_statistics(self, x)
        residuals = ops.convert_to_numpy(x).astype("float64") - mean
        slope = None
        if self.context == "required":
            slope, residuals = ridge(self._standardized(context), residuals)
            std = np.maximum(np.sqrt(np.square(residuals).mean(axis=0)), FLOOR * std)
        lower = std[:, None] * np.linalg.cholesky(shrunk_covariance(residuals / std))
        self._set(mean, lower)
        if slope is not None:
            self.slope.assign(np.linalg.solve(lower, slope.T).T)

    def _set(self, mean, lower):
        """Set b and L, in float64."""
        diagonal = np.diag(lower)
        self.mean.assign(mean)
        self.log_diagonal.assign(np.log(diagonal))
        self.upper.assign(np.linalg.inv(lower / diagonal[:, None]).T)
        self.shift.assign(np.zeros(len(mean)))
        self.flag.assign(True)

    @classmethod
    def of(cls, mean: np.ndarray, lower: np.ndarray) -> "LinearGaussian":
        """Return the layer z = L^-1 (x - b), built: b (d,), and L (d, d), lower triangular with L_ii > 0.

        >>> layer = LinearGaussian.of(np.array([1.0, 2.0]), np.diag([1.0, 10.0]))
        >>> ops.convert_to_numpy(layer(ops.convert_to_tensor([[2.0, 12.0]]))[0]).round(4).tolist()
        [[1.0, 1.0]]
        """
        layer = cls()
        layer.build((None, len(mean)))
        layer.built = True
        layer._set(mean, lower)
        return layer

    def _standardized(self, context):
        """Store the mean and the deviation of each entry of a context, and return it in units of them."""
        self._check_context(context)
        context = ops.convert_to_numpy(context).astype("float64")
        mean, std = context.mean(axis=0), context.std(axis=0)
        std = np.where(std > np.finfo("float32").eps * np.abs(mean), std, 1.0)  # 1 for one that does not vary
        self.context_mean.assign(mean)
        self.context_std.assign(std)
        return (context - mean) / std


PENALTIES = 10.0 ** np.arange(-8, 3, 0.25)  # for each row: from none to almost no slope


def ridge(c: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the slopes of a ridge regression of x on c, both of mean 0, and the residuals of rows left out.

    The residual of a row that is left out is that of the fit divided by 1 - h, with h the row's leverage (Allen, 1974).
    Each column of x has the penalty for which these residuals are least.
    """
    left, sizes, right = np.linalg.svd(c, full_matrices=False)
    scores = left.T @ x

    def shrunk(penalty):
        """Return how much is kept of each singular direction, for each column."""
        return sizes[:, None] ** 2 / (sizes[:, None] ** 2 + penalty)

    def left_out(penalty):
        kept = shrunk(penalty)
        return (x - left @ (kept * scores)) / (1 - 1 / len(x) - left**2 @ kept)

    errors = [np.square(left_out(len(x) * penalty)).mean(axis=0) for penalty in PENALTIES]
    penalty = len(x) * PENALTIES[np.argmin(errors, axis=0)]
    slope = right.T @ (sizes[:, None] / (sizes[:, None] ** 2 + penalty) * scores)
    return slope, left_out(penalty)


def shrunk_covariance(x: np.ndarray) -> np.ndarray:
    """Return the covariance of rows of mean 0 by Ledoit and Wolf (2004): (1 - a) S + a trace(S) / d.

    a is at least 1e-6, without which the matrix is singular for two rows.
    """
    rows, size = x.shape
    sample = x.T @ x / rows
    target = np.eye(size) * np.trace(sample) / size
    distance = np.square(sample - target).sum()
    noise = (np.square(np.square(x).sum(axis=1)).sum() / rows - np.square(sample).sum()) / rows
    share = max(min(noise, distance) / distance if distance else 0.0, FLOOR**2)
    share = share if rows > 2 else 1.0  # two rows say nothing of correlations
    return (1 - share) * sample + share * target
