"""Simulations of a posterior: pairs of parameters and data, checked."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from flowkit.posteriors.prior import as_float32

Simulator = Callable[[np.ndarray], Any]


_PARALLEL = (
    "For a simulator of one set of parameters pass lambda theta: np.stack([simulate(row) for row in theta])."
)


def simulated(simulator: Simulator, theta: np.ndarray, sizes: tuple[int, int] | None = None) -> np.ndarray:
    """Return `simulator(theta)` in float32, (n, *event). Raises ValueError unless it has a row for each of theta."""
    try:
        x = simulator(theta.copy())  # which it may change
    except Exception as error:
        error.add_note(f"flowkit called simulator(theta) with theta of shape {theta.shape}. {_PARALLEL}")
        raise
    x = as_float32(x, "the simulator's data")
    if x.shape[:1] != theta.shape[:1]:
        raise ValueError(
            f"simulator: got an array of shape {x.shape}, expected {len(theta):,} rows, one for each row of theta. "
            f"{_PARALLEL}"
        )
    return _shaped(x, sizes)


def _shaped(x, sizes):
    """Return data (n, *event); with `sizes` sets (n, most, k). Raises ValueError for sets of another shape."""
    x = x[:, None] if x.ndim == 1 else x
    if sizes is None:
        return x
    x = x[..., None] if x.ndim == 2 else x
    if x.ndim != 3 or x.shape[1] != sizes[1]:
        raise ValueError(
            f"posterior: got data of shape {x.shape} with sizes={sizes}, expected (n, {sizes[1]}) or (n, {sizes[1]}, "
            "k): data sets of the largest size, of which training takes parts."
        )
    return x


def given_pairs(
    pairs: Any, features: int | None, sizes: tuple[int, int] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs (theta, x) in float32. Raises ValueError unless they have as many rows, and the prior's columns."""
    theta, x = (as_float32(part, "pairs") for part in pairs)
    x = x[:, None] if x.ndim == 1 else x
    if theta.ndim != 2 or x.ndim < 2 or len(theta) != len(x) or features not in (None, theta.shape[1]):
        raise ValueError(
            f"posterior's pairs: got arrays of shapes {theta.shape} and {x.shape}, expected (n, {features or 'd'}) and "
            "(n, ...), a row of data for each row of parameters."
        )
    return theta, _shaped(x, sizes)


def usable(x: np.ndarray, gaps: bool) -> np.ndarray:
    """Return which rows of data are finite, (n,); with `gaps` also those with NaN in some entries, but not in all."""
    flat = x.reshape(len(x), -1)
    return ~np.isinf(flat).any(axis=1) & ~(np.isnan(flat).all(axis=1) if gaps else np.isnan(flat).any(axis=1))


def finite_pairs(
    theta: np.ndarray, x: np.ndarray, leave_out: bool, gaps: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs without NaN and infinity; warn of the others, with their number.

    With `gaps` NaN may stand for a missing entry, but not for all of a row.
    p(theta | x) of finite data does not depend on them. A likelihood does, so with `leave_out` False they are refused.
    Raises ValueError for parameters that are not finite, and if fewer than two pairs are left.
    """
    if not np.isfinite(theta).all():
        row = int(np.argmin(np.isfinite(theta).all(axis=1)))
        raise ValueError(f"posterior: got {theta[row]} as parameters in row {row}, expected finite numbers.")
    finite = usable(x, gaps)
    failed = len(x) - int(finite.sum())
    if not failed:
        return theta, x
    first = int(np.argmin(finite))
    found = f"{failed:,} of {len(x):,} simulations hold NaN or infinity, the first for the parameters {theta[first]}"
    if not leave_out:
        raise ValueError(
            f"posterior: {found}, expected finite data: a likelihood of finite data alone would be too high. Repair "
            "the simulator, or take method='npe'."
        )
    if finite.sum() < 2:
        raise ValueError(f"posterior: {found}. Repair the simulator.")
    warnings.warn(f"posterior: {found}. They are left out.", stacklevel=4)
    return theta[finite], x[finite]
