"""Whether data come back from their latents: f^-1(f(x)) is x, but for rounding."""

import warnings

import numpy as np
from keras import ops, tree

from flowkit.contract import ContractError
from flowkit.flow.dequantizing import undithered
from flowkit.flow.in_batches import run_in_batches
from flowkit.flow.noise import counted_for

TOLERANCE = 1e-3  # of the size of a row; to see less of it than that needs a plot of the two side by side
LOOKED_AT = ((4096, 64), (1024, 16), (0, 8))  # from so many rows up "warn" looks at so many
_CHECKS = ("warn", "raise", None)
_CURE = (
    "Rounding grows where the scale of an affine coupling comes near 0: bound it, Affine(min_scale=0.1), or compute "
    "in dtype='float64'. flow.round_trip_error(x) has each row's error."
)


def one_check(check):
    """`check`, if it is one that there is; ValueError otherwise."""
    if check not in _CHECKS:
        raise ValueError(f"check: expected one of {', '.join(map(repr, _CHECKS))}, received {check!r}.")
    return check


def look_at(flow, x, context, check, batch_size, stacklevel, z=None):
    """Go the round trip with rows of `x`, data that were checked, and warn or raise for those that do not come back.

    "raise" looks at each row. "warn" looks at a few, which cost little: half of them from all over the call, and half
    those that lie farthest out, since these are what is lost first. It leaves a flow alone that has no inverse, or of
    which a direction is not analytic: many passes for a few rows are not cheap. `z` are the latents of `x`, or None.

    Raises ContractError.
    """
    spec = flow.bijector.spec
    costly = not spec.forward == spec.inverse == "analytic"
    if check is None or not len(x) or (check == "warn" and (costly or flow.bijector.forgets(inverse=False))):
        return
    if flow.bijector.forgets(inverse=False):
        raise ContractError(
            "round trip",
            flow,
            expected="a flow that keeps all of x, for check='raise'",
            received="one with a surjection, which draws a part of x anew on the way back",
            hint="Use check=None.",
        )
    sizes = _sizes(flow, x)
    rows = np.flatnonzero(np.isfinite(sizes))  # others have overflowed, which is told elsewhere
    if check == "warn":
        rows = rows[_some(sizes[rows])]
        x, context, z = tree.map_structure(lambda a: None if a is None else a[rows], (x, context, z))
    elif len(rows) < len(x):
        raise _error(flow, f"{len(x) - len(rows)} of {len(x)} rows that overflowed")
    try:
        error = relative_error(flow, x, context, batch_size, sizes, rows, z)
    except NotImplementedError:
        if check == "raise":
            raise
        return
    lost, looked = (error > TOLERANCE).sum(), len(rows)
    if not lost:
        return
    seen = (
        f"{looked} rows" if looked == len(sizes) else f"{looked} rows that were looked at, of {len(sizes)},"
    )
    off = f"off by up to {error.max():.2g} of their size"
    if check == "raise":
        raise _error(flow, f"{lost} of {seen} {off}")
    warnings.warn(
        f"{lost} of {seen} do not come back from their latents: f^-1(f(x)) is {off}, where {TOLERANCE:g} passes. "
        + _CURE,
        stacklevel=stacklevel + 1,
    )


def warn_of_overflow(finite, stacklevel):
    """Warn if not all rows of data are `finite` (n,), a truth value for each."""
    if not finite.all():
        warnings.warn(
            f"{(~finite).sum()} of {len(finite)} samples overflowed on the way back: their latents lie "
            "where the flow has seen no data; lower the temperature, or move them less far",
            stacklevel=stacklevel + 1,
        )


def relative_error(flow, x, context, batch_size, sizes=None, rows=slice(None), z=None):
    """max|f^-1(f(x)) - x| over the entries of each row, for the size of the row.

    The size is max|x|, and no less than that of the median row, nor than what 2^9 roundings of 1 are a TOLERANCE of.
    """
    sizes = _sizes(flow, x) if sizes is None else sizes
    finite = sizes[np.isfinite(sizes)]
    least = 2**9 * np.finfo(flow.compute_dtype).eps / TOLERANCE
    if len(finite):
        least = max(least, np.median(finite))
    error = _difference(flow, x, context, z, batch_size) / np.maximum(sizes[rows], least)
    return np.where(np.isnan(error), np.inf, error)


def _difference(flow, x, context, z, batch_size):
    """max|f^-1(f(x)) - x| over the entries of each row; `z` are the latents of `x`, or None."""

    def there_and_back(start, stop, piece):
        x, context, z = piece
        y = undithered(flow, x)
        noise = counted_for(flow, y.shape, start, inverse=False)
        z = flow._run(flow._forward, y, context, noise) if z is None else z
        back = flow._run(flow._backward, z, context, counted_for(flow, z.shape, start, inverse=True))
        difference = np.abs(ops.convert_to_numpy(back).astype("float64") - y)
        return difference.reshape(len(y), -1).max(axis=1)

    return run_in_batches(there_and_back, (x, context, z), len(x), flow._batch_size(batch_size))


def _sizes(flow, x):
    """max|x| for each row; whole values are taken as those of [-1/2, 1/2) that a flow sees."""
    if flow.dequantize is not None:
        return np.full(len(x), 0.5)
    return np.abs(x).max(axis=tuple(range(1, x.ndim))).astype("float64")


def _some(sizes):
    """Places of the rows to look at: as many each time, so that an engine that compiles does so once."""
    count = next(min(count, len(sizes)) for least, count in LOOKED_AT if len(sizes) >= least)
    cut = len(sizes) - count // 2
    order = np.argpartition(sizes, cut) if cut < len(sizes) else np.arange(len(sizes))
    others = np.sort(order[:cut])
    spread = np.linspace(0, len(others) - 1, count - count // 2).astype(int)
    return np.concatenate([order[cut:], others[spread]])


def _error(flow, received):
    return ContractError(
        "round trip",
        flow,
        expected=f"f^-1(f(x)) to be x, to {TOLERANCE:g} of its size",
        received=received,
        hint=_CURE,
    )
