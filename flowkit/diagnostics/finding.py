"""The result of one diagnostic: a sentence, its numbers, and a figure that is drawn when it is looked at."""

import base64
import functools
import html
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flowkit.contract import Tensor
from flowkit.evaluation import Band, rank_band
from flowkit.training.pictures import new_figure

BLUE, ORANGE, GREY = "#1f77b4", "#ff7f0e", "#888888"
_WORDS = {True: "as expected", False: "not as expected", None: "to look at"}


@dataclass(frozen=True)
class Finding:
    """The result of one diagnostic.

    - `sentence`: the result in words.
    - `numbers`: whole numbers, floats, lists and dicts of them, as JSON has them.
    - `passed`: True if it is as for a right flow; None if there is nothing to expect.
    - `figure`: a matplotlib `Figure`, drawn at the first use.

    >>> from matplotlib.figure import Figure
    >>> found = Finding("two", "There are 2.", {"count": 2}, None, Figure)
    >>> found
    Finding('two': There are 2.)
    >>> print(found)
    There are 2.
    >>> found.figure.get_axes()
    []
    """

    name: str
    sentence: str
    numbers: dict[str, Any]
    passed: bool | None
    draw: Callable[[], Any] = field(repr=False)

    @functools.cached_property
    def figure(self) -> Any:
        """The matplotlib `Figure`."""
        return self.draw()

    @property
    def verdict(self) -> str:
        """`passed` in words."""
        return _WORDS[self.passed]

    def __str__(self):
        return self.sentence

    def __repr__(self):
        return f"Finding({self.name!r}: {self.sentence})"

    def _repr_html_(self):
        file = io.BytesIO()
        self.figure.savefig(file, format="png")
        picture = base64.b64encode(file.getvalue()).decode()
        title = html.escape(f"{self.name.replace('_', ' ')} ({self.verdict})")
        return (
            f"<h4>{title}</h4><p>{html.escape(self.sentence)}</p>"
            f'<img alt="{title}" style="max-width:100%" src="data:image/png;base64,{picture}">'
        )


def holm(p: Tensor) -> np.ndarray:
    """Adjust the p-values of m tests, an array (m,), by Holm's step-down method.

    The i-th smallest, i from 0, becomes the largest of (m - j) p_(j) for j = 0..i, at most 1. If tests below a level
    are called wrong, the chance to call any right one wrong is at most that level, however the tests depend on each
    other. Holm, A Simple Sequentially Rejective Multiple Test Procedure (1979).

    >>> holm([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p, "float64")
    order = np.argsort(p, kind="stable")
    adjusted = np.maximum.accumulate((len(p) - np.arange(len(p))) * p[order])
    answer = np.empty_like(p)
    answer[order] = np.minimum(adjusted, 1.0)
    return answer


def plot(xlabel: str, ylabel: str) -> tuple[Any, Any]:
    """Return a figure and its axes, with a grid."""
    figure = new_figure(5, 4)
    axes = figure.add_subplot(xlabel=xlabel, ylabel=ylabel)
    axes.grid(alpha=0.3)
    return figure, axes


def band_plot(band: Band, shares: Mapping[str, np.ndarray], label: str, xlabel: str, ylabel: str) -> Any:
    """Return a figure of named shares, less the share u that is expected, within a band (u, lower, upper)."""
    u, lower, upper = band
    figure, axes = plot(xlabel, ylabel)
    axes.fill_between(u, lower - u, upper - u, color=GREY, alpha=0.3, label=label)
    for name, share in shares.items():
        axes.plot(u, share - u, linewidth=1, label=name)
    axes.axhline(0, color="black", linewidth=0.8, linestyle="--")
    axes.legend(fontsize=8)
    return figure


def rank_plot(ranks: Mapping[str, np.ndarray], draws: int, level: float, label: str) -> Any:
    """Return a figure of named ranks (n,) among `draws`, within the band that uniform ones leave at `level`."""
    band = rank_band(len(next(iter(ranks.values()))), draws=draws, level=1 - level)
    shares = {name: (found[:, None] <= np.arange(draws + 1)).mean(axis=0) for name, found in ranks.items()}
    return band_plot(band, shares, label, "rank / draws", "share of ranks at most that, less what is even")


def histograms(axes: Any, bins: Any, *named: tuple[str, np.ndarray]) -> None:
    """Draw the densities of one or two named sets of numbers, with a legend."""
    for (name, values), colour in zip(named, (BLUE, ORANGE), strict=False):
        axes.hist(values, bins, density=True, histtype="step", color=colour, label=name)
    axes.legend(fontsize=8)
