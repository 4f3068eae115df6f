"""Each direction lands where the spec says."""

import numpy as np

from flowkit.contract import Domain
from flowkit.testing.clauses.clause import clause
from flowkit.testing.given.points import inside
from flowkit.testing.given.tolerances import ROUNDINGS
from flowkit.testing.verdicts.broken import Broken, point

STEEP = np.log(np.finfo("float64").max)
"""The log-det of a map so steep that overflow is no surprise."""


@clause(
    "codomain",
    "forward(x) lies in the declared codomain",
    hint="Declare the codomain in the spec, or map onto the one declared.",
    needs_forward=True,
)
def codomain(trial):
    _lands(trial.there, trial.spec.codomain, trial.x, "forward(x)")


@clause(
    "domain",
    "inverse(z) lies in the declared domain, and forward is finite on all of that",
    hint="The declared domain is larger or smaller than the one on which the map works.",
    needs_inverse=True,
)
def domain(trial):
    _lands(trial.back, trial.spec.domain, trial.z, "inverse(z)")
    # On all of the real line overflow may be right: clause "finite".
    if trial.spec.domain != Domain.REAL and trial.subject.has(False):
        _finite(trial.there, trial.x)


def _lands(measured, domain, where, what):
    """On the edge is allowed: an open set's edge is where rounding puts the points beside it."""
    value = measured.value
    # Overflow towards an open end is for the clause "finite" to judge; NaN is nowhere.
    slack = np.nan_to_num(ROUNDINGS * measured.value_error, nan=0.0)
    good = inside(domain, value, slack) | ((domain == Domain.REAL) & ~np.isfinite(value))
    if not good.all():
        worst = np.argwhere(~np.broadcast_to(good, value.shape))[0]
        raise Broken(
            f"{what} in {domain}",
            f"{point(value[worst[0]])} at {point(where[worst[0]])}",
            sample=int(worst[0]),
        )


def _finite(measured, where):
    value, log_det = measured.value.reshape(len(where), -1), measured.log_det
    good = np.isfinite(log_det) & np.isfinite(value).all(axis=1)
    # A power of some thousands overflows in the middle of its domain, as its log-det tells; a pole has an infinite one.
    good |= np.isfinite(log_det) & (log_det > STEEP) & ~np.isnan(value).any(axis=1)
    if not good.all():
        row = int(np.argmin(good))
        raise Broken(
            "a finite output and log-det inside the domain",
            f"{point(measured.value[row])} with log-det {measured.log_det[row]:.6g} at {point(where[row])}",
            sample=row,
        )
