"""What a notebook shows of a flow: a table of its parts, and a picture of its density or its samples."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flowkit.contract.arguments import whole_number
from flowkit.data.frame import Columns, is_frame
from flowkit.data.typed_columns import TypedColumns
from flowkit.flow.prepare import as_array, names_of
from flowkit.flow.summary import rows

_MOST_COLUMNS = 6
_GRID = 100  # points along each axis of a density
_IMAGES = 16


def as_html(flow: Any) -> str:
    """Return a table of the parts of a flow, or its repr before it is built."""
    if not flow.built:
        return f"<pre>{html.escape(repr(flow))}</pre>"
    lines = [
        f"<tr><td>{html.escape(row.part)}</td><td>{row.times}</td><td>{row.shape or ''}</td>"
        f"<td>{row.parameters:,}</td></tr>"
        for row in rows(flow)
    ]
    heads = "".join(f"<th>{name}</th>" for name in ("part", "times", "output", "parameters"))
    caption = (
        f"{type(flow).__name__} of events {flow.event_shape}: {flow.count_params():,} parameters, "
        f"log_prob is {flow.exact}"
    )
    return f"<table><caption>{caption}</caption><tr>{heads}</tr>{''.join(lines)}</table>"


def draw(flow: Any, x: Any, context: Any, samples: int, seed: int) -> Any:
    """Return the figure of `Flow.plot`."""
    if not flow.built or flow.event_shape is None:
        raise ValueError(
            "plot: got a flow without weights, expected one that is built. Call fit or build first."
        )
    shape, samples = flow.event_shape, whole_number(samples, "samples", least=2)
    if is_frame(context):
        context = (flow.context_columns or Columns.of(context)).values(context)
    if context is not None and len(context := np.asarray(context)) != 1:
        raise ValueError(f"plot: got a context of {len(context)} rows, expected one, the condition to draw.")
    if len(shape) not in (1, 3):
        raise ValueError(f"plot: got a flow of events {shape}, expected rows of columns or images.")
    drawn = flow.sample(samples if len(shape) == 1 else _IMAGES, context, seed=seed)
    drawn = np.asarray(as_array(flow, drawn)).reshape(-1, *shape)
    if len(shape) == 3:
        return _images(drawn)
    data = None if x is None else np.asarray(as_array(flow, x))
    names = names_of(flow) or [f"column {i}" for i in range(shape[0])]
    # Between whole numbers, and for missing entries, there is no density to draw.
    coded = isinstance(flow.columns, TypedColumns) and flow.exact == "bound"
    picture = _pairs if coded else {1: _curve, 2: _density}.get(shape[0], _pairs)
    return picture(flow, drawn, data, context, names)


def _curve(flow, drawn, data, context, names):
    figure, axes = _figure(5.6, 3.4)
    if data is not None:
        axes.hist(data[:, 0], bins=60, density=True, alpha=0.4, label="data")
    at = np.linspace(*_ends(drawn[:, 0]), 4 * _GRID)[:, None]
    axes.plot(at, _densities(flow, at, context), label="flow")
    axes.set(xlabel=names[0], ylabel="density")
    axes.legend()
    return figure


def _density(flow, drawn, data, context, names):
    figure, axes = _figure(5, 4)
    across, up = (np.linspace(*_ends(column), _GRID) for column in drawn.T)
    grid = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)
    mesh = axes.pcolormesh(across, up, _densities(flow, grid, context).reshape(_GRID, _GRID))
    if data is not None:
        axes.plot(*data.T, ".", color="white", markersize=1, alpha=0.5)
    axes.set(xlabel=names[0], ylabel=names[1], xlim=(across[0], across[-1]), ylim=(up[0], up[-1]))
    figure.colorbar(mesh, label="density")
    return figure


def _pairs(flow, drawn, data, context, names):
    """Draw pairs of columns: samples, and data beside them if there are any."""
    return pair_plot({"samples": drawn} if data is None else {"data": data, "samples": drawn}, names)


def pair_plot(tables: Mapping[str, np.ndarray], names: Sequence[Any], mark: Any = None) -> Any:
    """Return a figure of pairs of columns of one or two tables, by their labels; the first 6 columns.

    `mark`: a row to mark.
    """
    count = min(_MOST_COLUMNS, len(names))
    figure, grid = _figure(1.4 * count, 1.4 * count, count)
    grid = np.reshape(grid, (count, count))  # one pair of axes comes alone
    colours = ("C0", "C1")[-len(tables) :]
    for (row, column), axes in np.ndenumerate(grid):
        for (label, table), colour in zip(tables.items(), colours, strict=True):
            if row == column:
                there = table[~np.isnan(table[:, row]), row]
                axes.hist(there, bins=40, density=True, histtype="step", color=colour, label=label)
            else:
                axes.plot(table[:, column], table[:, row], ".", color=colour, markersize=1, alpha=0.5)
        if mark is not None and row == column:
            axes.axvline(mark[column], color="black", linewidth=0.8)
        elif mark is not None:
            axes.plot(mark[column], mark[row], "+", color="black")
        axes.set(xticks=[], yticks=[])
    for i in range(count):
        grid[-1, i].set_xlabel(names[i])
        grid[i, 0].set_ylabel(names[i])
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


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
    context = None if context is None else np.repeat(context, len(at), axis=0)
    return np.exp(flow.log_prob(at.astype("float32"), context))
