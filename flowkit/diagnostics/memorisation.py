"""Memorisation: samples that lie nearer to single rows of the training data than new data do."""

import numpy as np
from scipy import stats

from flowkit.contract import Context, Tensor
from flowkit.contract.arguments import Between0And1, Count, checked
from flowkit.diagnostics.finding import GREY, Finding, histograms
from flowkit.flow import Flow, inputs
from flowkit.training.pictures import image_grid, new_figure

_SHOWN = 8
_DISTANCES = 2**24  # that are held at once


@checked
def memorisation(
    flow: Flow,
    x: Tensor,
    train: Tensor,
    context: Context = None,
    *,
    samples: Count = 1_000,
    level: Between0And1 = 0.01,
    temperature: float = 1.0,
    batch_size: int | None = None,
    seed: int = 0,
) -> Finding:
    """Compare how far samples single out one row of `train` with how far `x` does, rows that were not trained on.

    If the flow has learned rows by heart, samples are much nearer to one of them than to the next: the ratio of these
    two distances is smaller than that of `x`. Nearness alone would not tell, since smooth images are nearer to all
    others than sharp ones. It passes unless a Mann-Whitney test finds smaller ratios at `level`; a few copies among
    many samples are only counted. With a `context`, one sample is drawn for each row of it, and `samples` is not used.

    Distances are Euclidean, over the square root of the number of entries; columns of a table are divided by their
    deviation in `train`. A missing entry counts as the column's mean, 1 away from a present one. In pixels they find
    copies, also noisy or blurred ones, but not an image that is moved by a few pixels.
    Raises ValueError for rows of another shape. Meehan, Chaudhuri & Dasgupta, A Non-Parametric Test to Detect
    Data-Copying in Generative Models (2020).

    >>> from flowkit import Flow
    >>> from flowkit.bijectors import Scale
    >>> flow = Flow(Scale(0.0))
    >>> flow.build((None, 2))
    >>> x, train = np.random.default_rng(0).normal(size=(2, 500, 2))
    >>> memorisation(flow, x, train).passed
    True
    """
    x, context = inputs.checked_data(flow, x, context)
    train = np.asarray(inputs.as_array(flow, train), x.dtype)  # so that copies are equal
    if train.shape[1:] != x.shape[1:]:
        raise ValueError(
            f"memorisation: got shape {train.shape}, expected rows to train on like those of x, {x.shape[1:]}."
        )
    how = {"temperature": temperature, "seed": seed, "batch_size": batch_size, "check": None}
    drawn = flow.sample(samples, **how) if context is None else np.asarray(flow.sample(1, context, **how))[0]
    return _compared(np.asarray(inputs.as_array(flow, drawn)), x, train, level)


def _compared(drawn, x, train, level):
    """Return the finding of samples `drawn`."""
    (closest, of_samples), (_, of_x) = _nearest_rows([drawn, x], train)
    ratios, x_ratios = (
        distances[:, 0] / np.maximum(distances[:, 1], 1e-300) for distances in (of_samples, of_x)
    )
    test = stats.mannwhitneyu(ratios, x_ratios, alternative="less")
    singled = 1 - test.statistic / (len(ratios) * len(x_ratios))
    copies, test_copies = (int((distances[:, 0] == 0).sum()) for distances in (of_samples, of_x))
    order = np.argsort(ratios)[:_SHOWN]
    return Finding(
        "memorisation",
        f"A sample singles out one row of the training data more than a row of the test data does with probability "
        f"{singled:.2f} (0.5 if both do alike; p = {test.pvalue:.2g}); {copies} of {len(drawn)} samples are copies, "
        f"and {test_copies} of {len(x)} test rows.",
        {
            "samples": len(drawn),
            "rows": len(x),
            "train_rows": len(train),
            "level": level,
            "singled_out": float(singled),
            "p": float(test.pvalue),
            "copies": copies,
            "test_copies": test_copies,
            "median_distance_of_samples": float(np.median(of_samples[:, 0])),
            "median_distance_of_test": float(np.median(of_x[:, 0])),
        },
        bool(test.pvalue >= level),
        lambda: _draw(ratios, x_ratios, drawn[order], train[closest[order]]),
    )


def _nearest_rows(tables, train):
    """Return for each table (place of the nearest row of `train`, distances (n, 2) to it and the next other row)."""
    *flat, among = [np.asarray(rows, "float64").reshape(len(rows), -1) for rows in (*tables, train)]
    if train.ndim == 2:
        *flat, among = _standardized([*flat, among])
    # A row that is there twice would never be singled out.
    once = np.array(list({hash(row.tobytes()): place for place, row in enumerate(among)}.values()))
    if len(once) < 2:
        raise ValueError("memorisation: got fewer than 2 different rows to train on, expected at least 2.")
    found = [_nearest_two(rows, among[once]) for rows in flat]
    return [(once[places], distances) for places, distances in found]


def _standardized(tables: list[np.ndarray]) -> list[np.ndarray]:
    """Return tables on the scale of the last; columns with missing entries have one more, which says where."""
    train = tables[-1]
    mean, scale = np.nanmean(train, axis=0), np.nanstd(train, axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    holes = np.isnan(np.concatenate(tables)).any(axis=0)
    return [np.hstack([np.nan_to_num((rows - mean) / scale), np.isnan(rows[:, holes])]) for rows in tables]


def _nearest_two(rows: np.ndarray, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (place of the nearest, distances (n, 2) to the nearest and the next) of rows of `among`, both float64.

    Distances are root mean squares over the entries. That of a copy is exactly 0. `among` has at least two rows.

    >>> _nearest_two(np.array([[0.0, 1.0]]), np.array([[5.0, 1.0], [3.0, 1.0], [0.0, 1.0]]))
    (array([2]), array([[0.        , 2.12132034]]))
    """
    centre = among.mean(axis=0)
    moved = among - centre
    squares = (moved**2).sum(axis=1)
    found = [
        np.argpartition(squares - 2 * (some - centre) @ moved.T, 1, axis=1)[:, :2]
        for some in np.array_split(rows, max(1, len(rows) * len(among) // _DISTANCES))
    ]
    places = np.concatenate(found)
    # By the difference itself: the product above has lost the digits of small distances.
    distances = np.stack([np.sqrt(((rows - among[place]) ** 2).mean(axis=1)) for place in places.T], axis=1)
    nearest = places[np.arange(len(rows)), distances.argmin(axis=1)]
    return nearest, np.sort(distances, axis=1)


def _draw(of_samples, of_x, closest, beside):
    images = closest.ndim == 4 and closest.shape[-1] in (1, 3)
    figure = new_figure(9 if images else 5, 4)
    axes = figure.add_subplot(1, 1 + images, 1)
    histograms(axes, np.linspace(0, 1, 41), ("test rows", of_x), ("samples", of_samples))
    axes.set(xlabel="distance to the nearest training row, over that to the next", ylabel="density")
    axes.grid(alpha=0.3, color=GREY)
    if images:
        both = np.concatenate([closest, beside]).astype("float64")
        shown = np.round(255 * (both - both.min()) / (np.ptp(both) or 1)).astype("uint8")
        place = figure.add_subplot(1, 2, 2)
        place.imshow(image_grid(shown, columns=len(closest)), cmap="gray", vmin=0, vmax=255)
        place.set_title("closest samples, above their training rows", fontsize=7)
        place.set_axis_off()
    return figure
