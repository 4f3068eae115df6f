"""Pictures of a flow of tables: data beside samples, pair by pair, and latents beside their density."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flowkit.training.pictures import BLUE, ORANGE, new_figure, save_figure

_MOST_COLUMNS = 10  # of a pair plot, where more would be too small to see
_DOTS = 2_000
_FAINT = 0.3  # opacity of a dot among 2,000


def save_pairs(path: str | Path, data: Any, samples: Any, names: Sequence[Any] | None = None) -> None:
    """Draw two tables, `(rows, columns)`, to a PNG file: data below the diagonal, samples above, both on it.

    Draws at most 2,000 rows of each, and the first 10 columns. An axis shows 99.8 percent of both, but at most half the
    data's width beyond the data on each side; a line below counts the rows outside. Raises ValueError for tables of
    different columns.
    """
    data, samples = np.asarray(data, "float64"), np.asarray(samples, "float64")
    if data.ndim != 2 or samples.ndim != 2 or data.shape[1] != samples.shape[1]:
        raise ValueError(
            f"expected two tables of the same columns, received {data.shape} and {samples.shape}."
        )
    columns = min(_MOST_COLUMNS, data.shape[1])
    names = [f"column {i}" for i in range(columns)] if names is None else names
    limits = [_limits(data[:, i], samples[:, i]) for i in range(columns)]
    figure = new_figure(1 + 1.3 * columns, 1 + 1.3 * columns)
    grid = figure.subplots(columns, columns, squeeze=False)
    for row, column in np.ndindex(columns, columns):
        axes = grid[row, column]
        if row == column:
            bins = np.linspace(*limits[row], 41)
            for table, colour, name in ((data, BLUE, "data"), (samples, ORANGE, "samples")):
                axes.hist(table[:, row], bins, density=True, histtype="step", color=colour, label=name)
        else:
            table, colour = (data, BLUE) if row > column else (samples, ORANGE)
            size, opacity = _dots(len(table))
            x, y = table[:_DOTS, column], table[:_DOTS, row]
            axes.scatter(x, y, s=size, alpha=opacity, linewidths=0, color=colour)
            axes.set_ylim(*limits[row])
        axes.set_xlim(*limits[column])
        axes.set_xticks([])
        axes.set_yticks([])
        if row == columns - 1:
            axes.set_xlabel(str(names[column])[:16], fontsize=8)
        if column == 0:
            axes.set_ylabel(str(names[row])[:16], fontsize=8)
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2, fontsize=9)
    told = ", ".join(
        f"{name} {_outside(table, limits)}" for name, table in (("data", data), ("samples", samples))
    )
    figure.supxlabel(f"rows outside of the axes: {told}", fontsize=8)
    save_figure(path, figure)


def save_quantiles(path: str | Path, latents: Any, expected: Any) -> None:
    """Draw the quantiles of `latents` over those of `expected`, draws of their density, to a PNG file: a QQ plot.

    Both are `(rows, columns)`. A column on the diagonal is distributed as it should be; at most 40 are drawn.
    """
    latents, expected = np.asarray(latents, "float64"), np.asarray(expected, "float64")
    # At most one point for each row, denser in the tails.
    count = max(2, min(200, len(latents)))
    levels = (1 - np.cos(np.pi * (np.arange(count) + 0.5) / count)) / 2
    levels = np.clip(levels, 0.5 / len(latents), 1 - 0.5 / len(latents))
    figure = new_figure(5, 5)
    axes = figure.add_subplot(
        xlabel="quantiles of the base density", ylabel="quantiles of the test rows' latents"
    )
    ends = []
    for column in range(min(40, latents.shape[1])):
        name = None if latents.shape[1] > 10 else f"latent {column}"
        there, here = (np.quantile(table[:, column], levels) for table in (expected, latents))
        axes.plot(there, here, linewidth=1, label=name)
        ends += [there[0], there[-1], here[0], here[-1]]
    ends = [end for end in ends if math.isfinite(end)] or [-1, 1]
    axes.plot([min(ends), max(ends)], [min(ends), max(ends)], color="black", linewidth=0.8, linestyle="--")
    axes.grid(alpha=0.3)
    if latents.shape[1] <= 10:
        axes.legend(fontsize=7)
    save_figure(path, figure)


def _dots(count):
    """Return (area in square points, opacity) of a dot, so that few dots are about as dark as many."""
    crowd = min(max(1, count), _DOTS) / _DOTS
    return min(12.0, 2.0 / crowd**0.5), min(1.0, _FAINT / crowd**0.5)


def _limits(data, samples):
    """Return the ends of an axis, which leave out samples far from all data."""
    low, high = np.quantile(data, [0.001, 0.999])
    width = high - low
    samples = samples[np.isfinite(samples)]
    if samples.size:
        ends = np.clip(np.quantile(samples, [0.001, 0.999]), low - width / 2, high + width / 2)
        low, high = min(low, ends[0]), max(high, ends[1])
    margin = 0.05 * (high - low) or 1.0
    return low - margin, high + margin


def _outside(table, limits):
    """Count the rows with an entry outside the axes or that is no number, in words."""
    low, high = np.transpose(limits)
    shown = table[:, : len(limits)]
    inside = ((shown >= low) & (shown <= high)).all(axis=1)
    return f"{len(table) - int(inside.sum()):,} of {len(table):,}"
