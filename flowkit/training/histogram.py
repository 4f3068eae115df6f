"""A histogram as a picture, for programs that show pictures and know no histograms."""

from typing import Any

import numpy as np

_BINS = 40
_BLUE = "#1f77b4"


def histogram_picture(values: Any, name: str) -> np.ndarray:
    """How often values are how large, their density, as a picture of pixels (320, 480, 3), uint8.

    The axis shows where 99.8 percent of them are, so that one that is far out leaves the others their shape.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow, and needed at the end of epochs only
    from matplotlib.figure import Figure

    values = np.asarray(values, "float64").ravel()
    low, high = np.quantile(values, [0.001, 0.999])
    middle, half = (low + high) / 2, max((high - low) / 2, 1e-6 * max(1.0, abs(high)))
    figure = Figure(figsize=(4.8, 3.2), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot(xlabel=name, ylabel="density")
    axes.hist(values, np.linspace(middle - half, middle + half, _BINS + 1), density=True, color=_BLUE)
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]
