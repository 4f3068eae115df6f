"""Figures that no window system is asked for, and that leave matplotlib's settings alone."""

import io
from typing import Any

BLUE, ORANGE, GREY = "#1f77b4", "#ff7f0e", "#888888"


def blank(width: float = 5.0, height: float = 4.0) -> Any:
    """An empty matplotlib `Figure`, not known to pyplot."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow to import
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def png(figure: Any) -> bytes:
    """A figure as the bytes of a PNG file."""
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()
