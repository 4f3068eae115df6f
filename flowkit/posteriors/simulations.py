"""Pairs of parameters and simulated data, checked."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

Simulator = Callable[[np.ndarray], Any]


_PARALLEL = (
    "For a simulator of one set of parameters pass lambda theta: np.stack([simulate(row) for row in theta])."
)


def simulated(simulator: Simulator, theta: np.ndarray) -> np.ndarray:
    """Return `simulator(theta)` in float32, (n, *event). Raises ValueError unless it has a row for each of theta."""
    try:
        x = np.asarray(simulator(theta), "float32")
    except Exception as error:
        error.add_note(f"flowkit called simulator(theta) with theta of shape {theta.shape}. {_PARALLEL}")
        raise
    if x.shape[:1] != theta.shape[:1]:
        raise ValueError(
            f"simulator: got an array of shape {x.shape}, expected {len(theta):,} rows, one for each row of theta. "
            f"{_PARALLEL}"
        )
    return x[:, None] if x.ndim == 1 else x


def given_pairs(pairs: Any, features: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs (theta, x) in float32. Raises ValueError unless they have as many rows, and the prior's columns."""
    theta, x = (np.asarray(part, "float32") for part in pairs)
    x = x[:, None] if x.ndim == 1 else x
    if theta.ndim != 2 or x.ndim < 2 or len(theta) != len(x) or features not in (None, theta.shape[1]):
        raise ValueError(
            f"posterior's pairs: got arrays of shapes {theta.shape} and {x.shape}, expected (n, {features or 'd'}) and "
            "(n, ...), a row of data for each row of parameters."
        )
    return theta, x


def finite_pairs(theta: np.ndarray, x: np.ndarray, leave_out: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs without NaN and infinity; warn of the others, with their number.

    p(theta | x) of finite data does not depend on them. A likelihood does, so with `leave_out` False they are refused.
    Raises ValueError for parameters that are not finite, and if fewer than two pairs are left.
    """
    if not np.isfinite(theta).all():
        row = int(np.argmin(np.isfinite(theta).all(axis=1)))
        raise ValueError(f"posterior: got {theta[row]} as parameters in row {row}, expected finite numbers.")
    finite = np.isfinite(x).reshape(len(x), -1).all(axis=1)
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
