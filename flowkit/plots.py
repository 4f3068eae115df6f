"""Pictures of a flow: its density, pairs of its columns, or its samples."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from keras import tree

from flowkit.contract.arguments import whole_number
from flowkit.data.category import Category
from flowkit.data.column_types import Date, Number
from flowkit.data.frame import is_frame
from flowkit.data.typed_columns import TypedColumns

if TYPE_CHECKING:
    from flowkit.flow.flow import Flow

MOST_COLUMNS = 10  # of a plot of pairs, where more would be too small to see
_GRID = 100  # points along each axis of a density
_DOTS = 2_000
_BINS = 40  # of a histogram, about
_FAINT = 0.3  # opacity of a dot among 2,000
_IMAGES = 16
_WORDS = 6  # categories at most that an axis names


def draw(flow: "Flow", x: Any, context: Any, samples: int, seed: int) -> Any:
    """Return the figure of `Flow.plot`; `x` and the context are checked arrays or None."""
    shape, samples = flow._event(), whole_number(samples, "samples", least=2)
    rows = 1 if context is None else len(tree.flatten(context)[0])
    if rows != 1:
        raise ValueError(f"plot: got a context of {rows} rows, expected one. Pass one row.")
    if len(shape) not in (1, 3):
        raise ValueError(f"plot: got a flow of events {shape}, expected rows of columns or images.")
    drawn = flow.sample(samples if len(shape) == 1 else _IMAGES, context, seed=seed)
    drawn = flow.columns.values(drawn) if is_frame(drawn) else drawn
    drawn = np.asarray(drawn).reshape(-1, *shape)
    if len(shape) == 3:
        return _images(drawn)
    numbered = [f"column {i}" for i in range(shape[0])]
    names = numbered if flow.columns is None else flow.columns.names
    # Between whole numbers, and for missing entries, there is no density to draw.
    coded = isinstance(flow.columns, TypedColumns) and flow.exact == "bound"
    if coded or shape[0] > 2:
        return pair_plot(x, drawn, names, types=types_of(flow))
    picture = _curve if shape[0] == 1 else _density
    return picture(flow, drawn, x, context, names)


def types_of(flow: "Flow") -> TypedColumns | None:
    """Return the types of a flow's columns, None for numbers."""
    return flow.columns if isinstance(flow.columns, TypedColumns) else None


def _curve(flow, drawn, data, context, names):
    figure, axes = _figure(5.6, 3.4)
    if data is not None:
        axes.hist(data[:, 0], bins=60, density=True, alpha=0.4, label="data")
    low, high = _ends(drawn[:, 0])
    at = np.linspace(low, high, 4 * _GRID)[:, None]
    axes.plot(at, _densities(flow, at, context), label="flow")
    axes.set(xlabel=names[0], ylabel="density")
    axes.legend()
    return figure


def _density(flow, drawn, data, context, names):
    figure, axes = _figure(5, 4)
    ends = map(_ends, drawn.T)
    across, up = (np.linspace(low, high, _GRID) for low, high in ends)
    grid = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)
    mesh = axes.pcolormesh(across, up, _densities(flow, grid, context).reshape(_GRID, _GRID))
    if data is not None:
        axes.plot(*data.T, ".", color="white", markersize=1, alpha=0.5)
    axes.set(xlabel=names[0], ylabel=names[1], xlim=(across[0], across[-1]), ylim=(up[0], up[-1]))
    figure.colorbar(mesh, label="density")
    return figure


def pair_plot(data: Any, samples: Any, names: Sequence[Any], **options: Any) -> Any:
    """Return a figure of pairs of the first 6 columns; see `draw_pairs` for `options`."""
    from matplotlib import pyplot

    count = min(6, len(names))
    side = 1.4 * max(count, 2)  # one panel has a legend too
    figure = pyplot.figure(figsize=(side, side), layout="constrained")
    pyplot.close(figure)
    draw_pairs(figure, data, samples, names[:count], **options)
    if count < len(names):
        figure.supxlabel(f"the first {count} of {len(names)} columns", fontsize=8)
    return figure


def draw_pairs(
    figure: Any,
    data: Any,
    samples: Any,
    names: Sequence[Any],
    *,
    labels: tuple[str, str] = ("data", "samples"),
    mark: Any = None,
    types: TypedColumns | None = None,
) -> list[tuple[float, float]]:
    """Draw pairs of the columns `names`: data below the diagonal, samples above, both on it; without data samples.

    Draws at most 2,000 rows of each. An axis shows 99.8 percent of both, but at most half the data's width beyond the
    data on each side. Returns the limits of the axes. `mark`: a row to mark. `types`: of columns that hold codes.
    """
    if types is not None:
        samples = types.drawable(samples)
        data = None if data is None else types.drawable(data)
    below, tables = (samples, "C1"), [(samples, "C1", labels[1])]
    if data is not None:
        below, tables = (data, "C0"), [(data, "C0", labels[0]), *tables]
    columns = len(names)
    limits = [_limits(below[0][:, i], samples[:, i]) for i in range(columns)]
    kinds = [None] * columns if types is None else types.types[:columns]
    limits = [
        (-0.5, len(kind.values) - 0.5) if isinstance(kind, Category) else ends
        for kind, ends in zip(kinds, limits, strict=True)
    ]
    units = [_unit(kind, ends) for kind, ends in zip(kinds, limits, strict=True)]
    grid = figure.subplots(columns, columns, squeeze=False)
    for (row, column), axes in np.ndenumerate(grid):
        if row == column:
            bins = _bins(kinds[row], *limits[row])
            for table, colour, label in tables:
                axes.hist(table[:, row], bins, density=True, histtype="step", color=colour, label=label)
        else:
            table, colour = below if row > column else (samples, "C1")
            size, opacity = _dots(len(table))
            x, y = table[:_DOTS, column], table[:_DOTS, row]
            axes.scatter(x, y, s=size, alpha=opacity, linewidths=0, color=colour)
            axes.set_ylim(*limits[row])
        if mark is not None and row == column:
            axes.axvline(mark[column], color="black", linewidth=0.8)
        elif mark is not None:
            axes.plot(mark[column], mark[row], "+", color="black")
        axes.set(xlim=limits[column])
        axes.tick_params(labelsize=6, length=2, pad=1)
        axes.tick_params(labelbottom=row == columns - 1, labelleft=row > 0 and column == 0)
        _set_ticks(axes.xaxis, kinds[column], units[column])
        if row == column:
            axes.set_yticks([])  # of a density
        else:
            _set_ticks(axes.yaxis, kinds[row], units[row])
        if row == columns - 1:
            axes.set_xlabel(_label(names[column], units[column]), fontsize=8)
            axes.tick_params(axis="x", labelrotation=45 if isinstance(kinds[column], Category | Date) else 0)
        if column == 0:
            axes.set_ylabel(_label(names[row], units[row]), fontsize=8)
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2, fontsize=9)
    return limits


def _bins(kind, low, high):
    """Return the edges of a histogram's bins: one for each category, and equally many steps of numbers in each."""
    if isinstance(kind, Category):
        return np.linspace(low, high, 1 + len(kind.values))
    if not isinstance(kind, Number) or isinstance(kind, Date) or kind.decimals is None:
        return np.linspace(low, high, 1 + _BINS)
    width = kind.step * max(1, round((high - low) / kind.step / _BINS))
    first = kind.low - kind.step / 2
    return np.arange(first + width * np.floor((low - first) / width), high + width, width)


def _unit(kind, ends):
    """Return the power of ten that ticks are written in, by its exponent: 0 unless numbers are long without one."""
    largest = max(map(abs, ends))
    if isinstance(kind, Category | Date) or 1e-2 <= largest < 1e5 or not 0 < largest < np.inf:
        return 0
    return int(3 * np.floor(np.log10(largest) / 3))


def _label(name, unit):
    """Return the label of an axis, with the unit of its ticks below the name."""
    return str(name)[:16] + (f"\n(1e{unit})" if unit else "")


def _set_ticks(axis, kind, unit):
    """Set a few ticks: names of categories, dates, or numbers in units of 10 ** `unit`."""
    from matplotlib import dates, ticker

    if isinstance(kind, Category):
        some = range(0, len(kind.values), 1 + (len(kind.values) - 1) // _WORDS)
        axis.set_ticks(list(some), labels=[str(kind.values[place])[:10] for place in some])
    elif isinstance(kind, Date):
        axis.set_major_locator(dates.AutoDateLocator(minticks=2, maxticks=4))
        axis.set_major_formatter(dates.AutoDateFormatter(axis.get_major_locator()))
    else:
        axis.set_major_locator(ticker.MaxNLocator(3))
        axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value / 10.0**unit:.7g}"))


def _dots(count):
    """Return (area in square points, opacity) of a dot, so that few dots are about as dark as many."""
    crowd = min(max(1, count), _DOTS) / _DOTS
    return min(12.0, 2.0 / crowd**0.5), min(1.0, _FAINT / crowd**0.5)


def _limits(data, samples):
    """Return the ends of an axis, which leave out samples far from all data."""
    low, high = np.nanquantile(data, [0.001, 0.999])
    width = high - low
    samples = samples[np.isfinite(samples)]
    if samples.size:
        ends = np.clip(np.quantile(samples, [0.001, 0.999]), low - width / 2, high + width / 2)
        low, high = min(low, ends[0]), max(high, ends[1])
    margin = 0.05 * (high - low) or 1.0
    return low - margin, high + margin


def _images(drawn):
    figure, grid = _figure(5, 5, 4)
    for axes, image in zip(grid.flat, drawn, strict=True):
        axes.imshow(image.squeeze(), cmap="gray")
        axes.set_axis_off()
    return figure


def _figure(width, height, count=1):
    """Return a figure and its axes; closed, since a notebook would show it once more."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(count, count, figsize=(width, height), layout="constrained")
    pyplot.close(figure)
    return figure, axes


def _ends(column):
    """Return the range of most samples: within their domain, so that all of it has a density."""
    return np.quantile(column, [0.002, 0.998])


def _densities(flow, at, context):
    if context is not None:
        context = tree.map_structure(lambda part: np.repeat(part, len(at), axis=0), context)
    return np.exp(flow.log_prob(at.astype("float32"), context))
