"""Check that data come back from their latents: f^-1(f(x)) is x up to rounding."""

import os
import sys
import warnings
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from flowkit.contract import ContractError, FlowLayer
from flowkit.contract.arguments import words
from flowkit.flow.rows import in_batches, map_leaves, middles, run_rows

if TYPE_CHECKING:
    from flowkit.flow.flow import Flow

TOLERANCE = 1e-3  # of the size of a row; to see less than that needs a plot of the two side by side
LOOKED_AT = 8  # rows
_CURE = (
    "Rounding grows where the scale of an affine coupling comes near 0: bound it, Affine(min_scale=0.1), or compute "
    "in dtype='float64'. flow.round_trip_error(x) has each row's error."
)
Check = Annotated[str | None, words("warn", "raise", None)]
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def look_at(flow: "Flow", x: Any, context: Any, check: Any, batch_size: Any, **options: Any) -> None:
    """Take rows of `x`, checked data, to their latents and back, and warn or raise if they do not come back.

    "raise" looks at each row of each call. "warn" looks at the 8 rows farthest out, which are lost first; and at calls
    1, 16, 256, ... since the flow's weights were loaded or trained, so that it costs little on average; it is called
    for flows that `may_lose_digits` alone. `context` may have fewer rows, which repeat. `options` are the steps and the
    guidance of both directions.

    Raises ContractError.
    """
    if check is None or not len(x) or (check == "warn" and not _is_due(flow)):
        return
    if flow.bijector.is_lossy(inverse=False):
        received = "a flow with a surjection, which draws a part of x anew on the way back"
        raise _error(flow, received, "Use check=None.")
    sizes, rows = _sizes(flow, x), np.arange(len(x))
    if check == "warn":
        rows = np.flatnonzero(np.isfinite(sizes))  # others have overflowed, which has its own warning
        rows = rows[np.argsort(sizes[rows])[-LOOKED_AT:]]
    context = map_leaves(lambda c: c[rows % len(c)], context)
    try:
        error = _difference(flow, x[rows], context, batch_size, **options) / _scale(flow, sizes)[rows]
    except NotImplementedError:
        if check == "raise":
            raise
        return
    lost = (error > TOLERANCE).sum()
    if not lost:
        return
    looked, off = len(rows), f"off by up to {error.max():.2g} of their size"
    if check == "raise":
        raise _error(flow, f"{lost} of {looked} rows {off}")
    _warn(
        f"{lost} of {looked} rows that were looked at, of {len(sizes)}, do not come back from their latents: "
        f"f^-1(f(x)) is {off}, where {TOLERANCE:g} passes. {_CURE}"
    )


def may_lose_digits(bijector: FlowLayer) -> bool:
    """Return True if data may come back from their latents with large errors: neither spec nor solver rules it out."""
    spec = bijector.spec
    analytic = spec.forward == spec.inverse == "analytic"
    return (
        analytic and not spec.bounded and spec.log_det == "varying" and not bijector.is_lossy(inverse=False)
    )


def _is_due(flow):
    """Return True for the calls 1, 16, 256, ... of a flow since its weights changed."""
    flow.calls += 1
    return flow.calls & (flow.calls - 1) == 0 and flow.calls.bit_length() % 4 == 1


def _warn(message):
    """Warn at the user's own line: the first outside of flowkit."""
    frame, level = sys._getframe(), 1  # this function
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)


def warn_of_overflow(finite: np.ndarray) -> None:
    """Warn of rows of data that are not `finite` (n,), a truth value for each."""
    _warn(
        f"{(~finite).sum()} of {len(finite)} samples overflowed on the way back: their latents lie where the flow has "
        "seen no data; lower the temperature, or move them less far"
    )


def relative_error(flow: "Flow", x: Any, context: Any, batch_size: Any) -> np.ndarray:
    """Return max|f^-1(f(x)) - x| over the entries of each row, for the size of the row.

    The size is max|x|, and no less than that of the median row, nor than what 2^9 roundings of 1 are a TOLERANCE of.
    """
    return _difference(flow, x, context, batch_size) / _scale(flow, _sizes(flow, x))


def _difference(flow, x, context, batch_size, **options):
    """Return max|f^-1(f(x)) - x| over the entries of each row, inf for NaN."""

    def there_and_back(start, stop, piece):
        x, context = piece
        y = middles(flow, x)
        z = run_rows(flow, flow._to_latents, y, context, first=start, **options)
        back = run_rows(flow, flow._to_data, z, context, inverse=True, first=start, **options)
        back = back.astype("float64")
        missing = np.isnan(y) & np.isnan(back)  # entries of a table that stay missing
        with np.errstate(invalid="ignore"):  # of rows that overflowed
            difference = np.where(missing, 0.0, np.abs(back - y))
        return np.nan_to_num(difference.reshape(len(y), -1).max(axis=1), nan=np.inf, posinf=np.inf)

    return in_batches(flow, there_and_back, (x, context), batch_size)


def _sizes(flow, x):
    """Return max|x| for each row; whole values are taken as those of [-1/2, 1/2) that a flow sees."""
    if flow.dequantize is not None:
        return np.full(len(x), 0.5)
    present = np.where(np.isnan(x), 0.0, x)
    return np.abs(present).max(axis=tuple(range(1, x.ndim))).astype("float64")


def _scale(flow, sizes):
    """Return what an error is relative to for rows of these sizes."""
    least = 2**9 * np.finfo(flow.compute_dtype).eps / TOLERANCE
    finite = np.isfinite(sizes)
    usual = max(least, np.median(sizes[finite])) if finite.any() else least
    return np.maximum(np.where(finite, sizes, 0.0), usual)


def _error(flow, received, hint=_CURE):
    expected = f"f^-1(f(x)) to be x, to {TOLERANCE:g} of its size"
    return ContractError("round trip", flow, expected=expected, received=received, hint=hint)
