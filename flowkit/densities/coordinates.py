"""Unconstrained coordinates of the rows of a density, in float64, and the density in them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg
from scipy.special import expit, log_expit

from flowkit.bijectors.unconstrain import domain_of_column
from flowkit.contract.domain import first_and_last
from flowkit.flow.tempering import Student

LogDensity = Callable[[np.ndarray], ArrayLike]


class Coordinates:
    """The map from real coordinates u to rows x in their domains: x = g(mean + L u), with a lower triangular L.

    g is the identity of a real entry, an exponential of one that is bounded on one side, and a sigmoid between bounds.

    >>> place = Coordinates(2, ["real", (0.0, 4.0)])
    >>> x, log_det = place.rows(np.array([[1.0, 0.0]]))
    >>> x.tolist(), log_det.tolist()  # dx/du = 4 / 4
    ([[1.0, 2.0]], [0.0])
    >>> place.of_rows(x).tolist()
    [[1.0, 0.0]]
    """

    def __init__(self, features: int, domains: Sequence[Any] | None = None) -> None:
        domains = ["real"] * features if domains is None else list(domains)
        if len(domains) != features:
            raise ValueError(f"domains: got {len(domains)}, expected one for each of {features} features.")
        self.domains = [domain_of_column(domain, number) for number, domain in enumerate(domains)]
        if any(domain.kind == "circle" for domain in self.domains):
            raise ValueError("domains: got a circle, expected 'real', 'positive' or (low, high).")
        self.low, self.high = np.array([(domain.low, domain.high) for domain in self.domains]).T
        self.bounded = bool(np.isfinite([self.low, self.high]).any())
        self.mean, self.root = np.zeros(features), np.eye(features)

    def standardized(self, u: np.ndarray) -> "tuple[Coordinates, np.ndarray]":
        """Return coordinates in which the rows at `u` are uncorrelated and of deviation 1, and the rows in them."""
        found, student = Coordinates(len(self.domains), self.domains), Student.of(u)
        found.mean, found.root = self.mean + self.root @ student.mean, self.root @ student.root
        return found, linalg.solve_triangular(student.root, (u - student.mean).T, lower=True).T

    def rows(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return rows x (n, features) and log |dx/du|, (n,), both in float64."""
        x = self.mean + u.astype("float64") @ self.root.T
        log_det = np.full(x.shape, np.log(np.diag(self.root)))
        first, last = first_and_last(self.low, self.high, "float64")
        for i, (low, high) in enumerate(zip(self.low, self.high, strict=True)):
            z = x[:, i]
            if np.isfinite(low) and np.isfinite(high):
                log_det[:, i] += np.log(high - low) + log_expit(z) + log_expit(-z)
                inside = np.where(z < 0, low + (high - low) * expit(z), high - (high - low) * expit(-z))
            elif np.isfinite(low) or np.isfinite(high):
                log_det[:, i] += z if np.isfinite(low) else -z
                with np.errstate(over="ignore"):
                    inside = low + np.exp(z) if np.isfinite(low) else high - np.exp(-z)
            else:
                continue
            x[:, i] = np.clip(inside, first[i], last[i])
        return x, log_det.sum(axis=1)

    def of_rows(self, x: np.ndarray) -> np.ndarray:
        """Return u of rows inside the domains, in float64."""
        u = x.astype("float64")
        for i, (low, high) in enumerate(zip(self.low, self.high, strict=True)):
            if np.isfinite(low):
                u[:, i] = np.log(x[:, i] - low)
            if np.isfinite(high):
                u[:, i] = (u[:, i] if np.isfinite(low) else 0.0) - np.log(high - x[:, i])
        return linalg.solve_triangular(self.root, (u - self.mean).T, lower=True).T

    def check_inside(self, x: np.ndarray, what: str) -> None:
        """Raise ValueError unless all rows are finite and inside the domains."""
        wrong = ~(np.isfinite(x) & (x > self.low) & (x < self.high)).all(axis=1)
        if wrong.any():
            row = int(np.argmax(wrong))
            raise ValueError(
                f"{what}: got {x[row].tolist()} in row {row}, expected finite numbers inside the domains."
            )


class Target:
    """A user's log-density, checked and counted: log p(x) of rows x (n, features), in float64.

    >>> target = Target(lambda x: -0.5 * (x**2).sum(axis=1), vectorized=True)
    >>> target(np.ones((3, 2))).tolist(), target.calls
    ([-1.0, -1.0, -1.0], 3)
    """

    def __init__(self, log_density: LogDensity, vectorized: bool) -> None:
        self.log_density, self.vectorized, self.calls = log_density, vectorized, 0

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return log p(x). Raises ValueError that names a row, for an error, NaN, infinity or another shape."""
        self.calls += len(x)
        finite = np.isfinite(x).all(axis=1)  # coordinates far out overflow
        answer = np.full(len(x), -np.inf)
        rows = x[finite]
        if len(rows):
            batches = [rows] if self.vectorized else rows
            answer[finite] = np.concatenate([self._evaluated(batch) for batch in batches])
        return answer

    def _evaluated(self, x):
        """Return log p of a batch (n, features), or of a row (features,), as (n,)."""
        first = x[0] if x.ndim == 2 else x
        batch = f"for {len(x)} rows, the first {first.tolist()}" if x.ndim == 2 else f"at {x.tolist()}"
        try:
            found = self.log_density(x.copy())
        except Exception as error:
            hint = " Pass vectorized=False if it takes one row at a time." if x.ndim == 2 else ""
            raise ValueError(
                f"log_density: got {type(error).__name__} ({error}) {batch}, expected log p. Return -inf where the "
                f"density is 0.{hint}"
            ) from error
        try:
            found = np.asarray(found, "float64")
        except (TypeError, ValueError):
            found = np.array(found, object)
        shape = (len(x),) if x.ndim == 2 else ()
        if (found.shape != shape and not (shape == () and found.size == 1)) or found.dtype == object:
            hint = "" if x.ndim == 1 else " Pass vectorized=False if it takes one row at a time."
            raise ValueError(
                f"log_density: got shape {found.shape} of {found.dtype} {batch}, expected numbers of shape {shape}."
                f"{hint}"
            )
        found = found.reshape(-1)
        wrong = np.isnan(found) | (found == np.inf)
        if wrong.any():
            place = np.atleast_2d(x)[np.argmax(wrong)].tolist()
            raise ValueError(
                f"log_density: got {found[wrong][0]} at {place}, expected a finite number or -inf. Return -inf where "
                "the density is 0."
            )
        return found
