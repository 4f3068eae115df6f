"""Memorisation: samples that lie nearer to the training data than new data do."""

import numpy as np
from scipy import stats

from flowkit.contract import Context, Tensor
from flowkit.contract.arguments import Between0And1, Count, checked
from flowkit.diagnostics.finding import GREY, Finding, histograms
from flowkit.flow import prepare
from flowkit.flow.flow import Flow
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
    """Compare distances of samples to their nearest row of `train` with those of `x`, rows that were not trained on.

    If the flow has learned rows by heart, samples are nearer to them than `x` is: P(d_sample < d_x) is above a half.
    It passes unless a Mann-Whitney test finds that at `level`. Much below a half, samples are farther out than data
    are, which is another fault. With a `context`, one sample is drawn for each row of it, and `samples` is not used.

    Distances are Euclidean, over the square root of the number of entries; columns of a table are divided by their
    deviation in `train`. A missing entry counts as the column's mean, 1 away from a present one. In pixels they find
    copies, but not an image that is moved by a few pixels; smooth images are nearer to all others than sharp ones.
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
    x, context = prepare.checked(flow, x, context)
    train = np.asarray(prepare.as_array(flow, train), x.dtype)  # so that copies are equal
    if train.shape[1:] != x.shape[1:] or not len(train):
        raise ValueError(
            f"memorisation: expected rows to train on like those of x, {x.shape[1:]}, received shape {train.shape}."
        )
    how = {"temperature": temperature, "seed": seed, "batch_size": batch_size, "check": None}
    if context is None:
        drawn = np.asarray(prepare.as_array(flow, flow.sample(samples, **how)))
    else:
        drawn = np.asarray(flow.sample(1, context, **how))[0]
    flat = [np.asarray(rows, "float64").reshape(len(rows), -1) for rows in (drawn, x, train)]
    if train.ndim == 2:
        flat = _standardized(flat)
    places, of_samples = _nearest(flat[0], flat[2])
    _, of_x = _nearest(flat[1], flat[2])
    test = stats.mannwhitneyu(of_samples, of_x, alternative="less")
    nearer = 1 - test.statistic / (len(of_samples) * len(of_x))
    copies, test_copies = int((of_samples == 0).sum()), int((of_x == 0).sum())
    order = np.argsort(of_samples)[:_SHOWN]
    return Finding(
        "memorisation",
        f"A sample is nearer to the training data than a row of the test data with probability {nearer:.2f} (0.5 if "
        f"neither is; p = {test.pvalue:.2g}); {copies} of {len(drawn)} samples are copies, and {test_copies} of "
        f"{len(x)} test rows.",
        {
            "samples": len(drawn),
            "rows": len(x),
            "train_rows": len(train),
            "level": level,
            "nearer": float(nearer),
            "p": float(test.pvalue),
            "copies": copies,
            "test_copies": test_copies,
            "median_distance_of_samples": float(np.median(of_samples)),
            "median_distance_of_test": float(np.median(of_x)),
        },
        bool(test.pvalue >= level),
        lambda: _draw(of_samples, of_x, drawn[order], train[places[order]]),
    )


def _standardized(tables: list[np.ndarray]) -> list[np.ndarray]:
    """Return tables on the scale of the last; columns with missing entries have one more, which says where."""
    train = tables[-1]
    mean, scale = np.nanmean(train, axis=0), np.nanstd(train, axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    holes = np.isnan(np.concatenate(tables)).any(axis=0)
    return [np.hstack([np.nan_to_num((rows - mean) / scale), np.isnan(rows[:, holes])]) for rows in tables]


def _nearest(rows: np.ndarray, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (place, distance) of the row of `among` (m, D) that is nearest to each of `rows` (n, D), both float64.

    Distances are root mean squares over the D entries. That of a copy is exactly 0.

    >>> _nearest(np.array([[0.0, 1.0]]), np.array([[5.0, 5.0], [0.0, 1.0]]))
    (array([1]), array([0.]))
    """
    centre = among.mean(axis=0)
    moved = among - centre
    squares = (moved**2).sum(axis=1)
    places = [
        np.argmin(squares - 2 * (some - centre) @ moved.T, axis=1)
        for some in np.array_split(rows, max(1, len(rows) * len(among) // _DISTANCES))
    ]
    place = np.concatenate(places)
    # By the difference itself: the product above has lost the digits of small distances.
    return place, np.sqrt(((rows - among[place]) ** 2).mean(axis=1))


def _draw(of_samples, of_x, closest, beside):
    images = closest.ndim == 4 and closest.shape[-1] in (1, 3)
    figure = new_figure(9 if images else 5, 4)
    axes = figure.add_subplot(1, 1 + images, 1)
    high = np.quantile(np.concatenate([of_samples, of_x]), 0.995) or 1.0
    histograms(axes, np.linspace(0, high, 41), ("test rows", of_x), ("samples", of_samples))
    axes.set(xlabel="distance to the nearest row of the training data", ylabel="density")
    axes.grid(alpha=0.3, color=GREY)
    if images:
        both = np.concatenate([closest, beside]).astype("float64")
        shown = np.round(255 * (both - both.min()) / (np.ptp(both) or 1)).astype("uint8")
        place = figure.add_subplot(1, 2, 2)
        place.imshow(image_grid(shown, columns=len(closest)), cmap="gray", vmin=0, vmax=255)
        place.set_title("nearest samples, above their rows", fontsize=7)
        place.set_axis_off()
    return figure
