"""Round trip: the error of data that come back from their latents."""

import numpy as np

from flowkit.contract import Context, Tensor
from flowkit.diagnostics.finding import BLUE, Finding, plot
from flowkit.flow.flow import Flow
from flowkit.flow.round_trip import TOLERANCE

_PERCENTILES = (50, 90, 99, 100)


def round_trip(flow: Flow, x: Tensor, context: Context = None, *, batch_size: int | None = None) -> Finding:
    """Report percentiles of `flow.round_trip_error(x)`; it passes if the largest is at most 1e-3 of a row's size.

    >>> from flowkit import Flow
    >>> from flowkit.bijectors import Scale
    >>> flow = Flow(Scale(1.0))
    >>> flow.build((None, 2))
    >>> round_trip(flow, np.ones((4, 2))).passed
    True
    """
    error = np.sort(flow.round_trip_error(x, context, batch_size=batch_size).astype("float64"))
    # "higher" is an error that was seen, also if others are infinite.
    found = {f"{p}%": float(np.percentile(error, p, method="higher")) for p in _PERCENTILES}
    shown = ", ".join(f"{value:.1g} at {name}" for name, value in found.items())
    return Finding(
        "round_trip",
        f"f^-1(f(x)) is off by {shown} of rows, as a part of their size; {TOLERANCE:g} passes.",
        {"rows": len(error), "tolerance": TOLERANCE, "percentiles": found},
        bool(error[-1] <= TOLERANCE),
        lambda: _draw(error),
    )


def _draw(error):
    figure, axes = plot("percentile of rows", "error, as a part of the row's size")
    floor = np.finfo("float32").tiny
    axes.plot(100 * (np.arange(len(error)) + 0.5) / len(error), np.maximum(error, floor), color=BLUE)
    axes.axhline(TOLERANCE, color="black", linewidth=0.8, linestyle="--", label="passes below")
    if error.max() > 0:
        axes.set_yscale("log")
        axes.set_ylim(bottom=max(error[error > 0].min() / 2, 1e-12))
    axes.legend(fontsize=8)
    return figure
