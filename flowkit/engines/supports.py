"""The support of a flow, as PyTorch and NumPyro describe it: their constraints have the same names."""

import math


def support(domain, rank, constraints):
    """Return the constraint of events with `rank` axes in a `Domain`; `constraints` is the library's module."""
    if domain.kind == "simplex":
        return constraints.simplex
    columns = domain.columns
    if columns is None:
        return constraints.independent(_interval(domain, constraints), rank)
    return constraints.independent(
        constraints.cat([_interval(column, constraints) for column in columns], dim=-1), rank
    )


def _interval(domain, constraints):
    """Return the constraint of one entry; a circle is the interval of its angles."""
    if math.isfinite(domain.low) and math.isfinite(domain.high):
        return constraints.interval(domain.low, domain.high)
    if math.isfinite(domain.low):
        return constraints.greater_than(domain.low)
    return constraints.less_than(domain.high) if math.isfinite(domain.high) else constraints.real
