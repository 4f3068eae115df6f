"""Memorisation: samples that lie nearer to single rows of the training data than new data do."""

import hashlib
import math

import numpy as np
from scipy import stats

from flowkit.contract import Context, Tensor
from flowkit.contract.arguments import whole_number
from flowkit.diagnostics.finding import BLUE, GREY, ORANGE, Finding
from flowkit.flow import prepare
from flowkit.flow.context import context_kind
from flowkit.flow.flow import Flow
from flowkit.training.pictures import image_grid, new_figure

_SHOWN = 8
_EXTREME = 0.01  # the share of all rows that lie nearest, among which a few copies show
_DISTANCES = 2**24  # that are held at once


def memorisation(
    flow: Flow,
    x: Tensor,
    train: Tensor,
    context: Context = None,
    *,
    samples: int = 1_000,
    level: float = 0.01,
    temperature: float = 1.0,
    batch_size: int | None = None,
    seed: int = 0,
) -> Finding:
    """Compare how near samples and `x`, rows that were not trained on, lie to `train`.

    If the flow has learned rows by heart, one of three tests finds it, each at a third of `level`:

    1. Samples are nearer to `train` than `x` is (Mann-Whitney), P(d_sample < d_x) is above a half. As images that are
       smoother than data are nearer to all others, samples must also have their nearest row in `train` and not in `x`
       more often than by chance, if rows traded places at random (a normal approximation).
    2. Samples single out one row: the ratio d_1 / d_2 of the distances to the nearest row of `train` and to the next
       is smaller than that of `x` (Mann-Whitney). Of equal rows of `train` one counts.
    3. Samples are more than their share of the hundredth of all rows with the smallest ratios (hypergeometric), so
       that a few copies show.

    `p` of the numbers is three times the smallest p-value. Samples far from all data pass, which is another fault. With
    a `context`, one sample is drawn for each row of it, and `samples` is not used.

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
    samples = whole_number(samples, "samples", least=1)
    x, context = prepare.checked(flow, x, context)
    train = np.asarray(prepare.as_array(flow, train), x.dtype)  # so that copies are equal
    if train.shape[1:] != x.shape[1:] or not len(train):
        raise ValueError(
            f"memorisation: expected rows to train on like those of x, {x.shape[1:]}, received shape {train.shape}."
        )
    train_rows = len(train)
    drawn = _drawn(flow, samples, context, temperature, batch_size, seed)
    flat = [np.asarray(rows, "float64").reshape(len(rows), -1) for rows in (drawn, x, train)]
    if train.ndim == 2:
        flat = _standardized(flat)
    distinct = _distinct(flat[2])
    if len(distinct) < len(train):
        train, flat[2] = train[distinct], flat[2][distinct]
    (places, to_train), (_, of_x) = (_nearest(rows, flat[2]) for rows in flat[:2])
    own = (
        np.arange(len(x)) if _reads(flow, context) else None
    )  # a sample is near the row whose context it has
    owner_p = _p_of_owners(
        places[:, 0], to_train[:, 0], *_nearest_other(flat[0], flat[1], own), len(train), len(x)
    )
    nearer, nearer_p = _less(to_train[:, 0], of_x[:, 0])
    sample_ratios, ratios = (distances[:, 0] / distances[:, 1] for distances in (to_train, of_x))
    single, single_p = _less(sample_ratios, ratios)
    few, extreme, few_p = _among_the_smallest(sample_ratios, ratios)
    p = min(1.0, 3 * min(max(nearer_p, owner_p), single_p, few_p))
    copies, test_copies = (int((distances[:, 0] == 0).sum()) for distances in (to_train, of_x))
    order = np.argsort(sample_ratios)[:_SHOWN]
    return Finding(
        "memorisation",
        f"A sample is nearer to the training data than a row of the test data with probability {nearer:.2f}, and "
        f"singles out one of its rows more with probability {single:.2f} (0.5 if both do alike); {few} of the "
        f"{extreme} rows that do so most are samples (p = {p:.2g} for the three); {copies} of {len(drawn)} samples are "
        f"copies, and {test_copies} of {len(x)} test rows.",
        {
            "samples": len(drawn),
            "rows": len(x),
            "train_rows": train_rows,
            "level": level,
            "nearer": nearer,
            "nearer_p": nearer_p,
            "nearest_in_train_p": owner_p,
            "singled_out": single,
            "singled_out_p": single_p,
            "extreme": extreme,
            "extreme_samples": few,
            "extreme_p": few_p,
            "p": p,
            "copies": copies,
            "test_copies": test_copies,
            "median_distance_of_samples": float(np.median(to_train[:, 0])),
            "median_distance_of_test": float(np.median(of_x[:, 0])),
        },
        p >= level,
        lambda: _draw(sample_ratios, ratios, drawn[order], train[places[order, 0]]),
    )


def _standardized(tables: list[np.ndarray]) -> list[np.ndarray]:
    """Return tables on the scale of the last; columns with missing entries have one more, which says where."""
    train = tables[-1]
    mean, scale = np.nanmean(train, axis=0), np.nanstd(train, axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    holes = np.isnan(np.concatenate(tables)).any(axis=0)
    return [np.hstack([np.nan_to_num((rows - mean) / scale), np.isnan(rows[:, holes])]) for rows in tables]


def _distinct(rows: np.ndarray) -> np.ndarray:
    """Return the places of the rows, the first of those that are equal."""
    first: dict[bytes, int] = {}
    for place, row in enumerate(rows):
        first.setdefault(hashlib.sha256(row.tobytes()).digest(), place)
    return np.array([*first.values()])


def _nearest(rows: np.ndarray, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the places (n, 2) and the distances (n, 2) of the two rows of `among` that are nearest to each of `rows`.

    Both are (n, D) and float64. Distances are root mean squares over the D entries; that of a copy is exactly 0. If
    there is only one row, the second distance is infinite.

    >>> _nearest(np.array([[0.0, 1.0]]), np.array([[5.0, 5.0], [3.0, 1.0], [0.0, 1.0]]))
    (array([[2, 1]]), array([[0.        , 2.12132034]]))
    """
    centre = among.mean(axis=0)
    moved = among - centre
    squares = (moved**2).sum(axis=1)
    count = min(2, len(among))
    found = [
        np.argpartition(squares - 2 * (some - centre) @ moved.T, count - 1, axis=1)[:, :count]
        for some in np.array_split(rows, max(1, len(rows) * len(among) // _DISTANCES))
    ]
    places = np.concatenate(found)
    # By the difference itself: the product above has lost the digits of small distances.
    distances = np.stack([np.sqrt(((rows - among[place]) ** 2).mean(axis=1)) for place in places.T], axis=1)
    order = np.argsort(distances, axis=1, kind="stable")
    places, distances = np.take_along_axis(places, order, 1), np.take_along_axis(distances, order, 1)
    if count == 1:
        places, distances = np.repeat(places, 2, axis=1), np.insert(distances, 1, np.inf, axis=1)
    return places, distances


def _nearest_other(rows, among, own):
    """Return the place and the distance of the row of `among` nearest to each of `rows`, other than that at `own`."""
    places, distances = _nearest(rows, among)
    second = 0 if own is None else (places[:, 0] == own).astype(int)
    at = np.arange(len(rows))
    return places[at, second], distances[at, second]


def _p_of_owners(train_places, to_train, x_places, to_x, trained, held):
    """Return the p-value of how many samples have their nearest row in the training data, and not in x.

    If `trained` + `held` rows are divided at random, the number of samples at the rows of one side has the mean and the
    variance of a sum over a sample without replacement. Several samples may be at the same row.

    >>> places, near, far = np.arange(9), np.zeros(9), np.ones(9)
    >>> [round(_p_of_owners(places, *both, 10, 10), 3) for both in ((near, places, far), (far, places, near))]
    [0.0, 1.0]
    """
    in_train = to_train < to_x
    at = np.bincount(np.where(in_train, train_places, trained + x_places), minlength=trained + held)
    rows, share = trained + held, trained / (trained + held)
    variance = share * (1 - share) * rows / (rows - 1) * ((at**2).sum() - at.sum() ** 2 / rows)
    return float(stats.norm.sf((in_train.sum() - share * len(in_train)) / math.sqrt(max(variance, 1e-12))))


def _less(of_samples, of_x):
    """Return the probability that a number of samples is less than one of x, and the p-value of a half or less."""
    test = stats.mannwhitneyu(of_samples, of_x, alternative="less")
    return float(1 - test.statistic / (len(of_samples) * len(of_x))), float(test.pvalue)


def _among_the_smallest(of_samples, of_x):
    """Return (samples, rows, p-value) of the rows with the smallest ratios, a hundredth of all and those equal to them.

    If samples are distributed as x, each row is equally likely to be among them: the number is hypergeometric.

    >>> _among_the_smallest(np.array([0.1, 0.7]), np.array([0.9, 0.6]))
    (1, 1, 0.5)
    """
    both = np.concatenate([of_samples, of_x])
    limit = np.sort(both)[math.ceil(_EXTREME * len(both)) - 1]
    extreme, few = int((both <= limit).sum()), int((of_samples <= limit).sum())
    p = stats.hypergeom.sf(few - 1, len(both), len(of_samples), extreme)
    return few, extreme, float(p)


def _reads(flow, context):
    """Return True if a sample is drawn for each row of the context."""
    return context_kind(flow) != "none" and context is not None


def _drawn(flow, samples, context, temperature, batch_size, seed):
    how = {"temperature": temperature, "seed": seed, "batch_size": batch_size, "check": None}
    if not _reads(flow, context):
        return np.asarray(prepare.as_array(flow, flow.sample(samples, **how)))
    return np.asarray(flow.sample(1, context, **how))[0]


def _draw(of_samples, of_x, closest, beside):
    images = closest.ndim == 4 and closest.shape[-1] in (1, 3)
    figure = new_figure(9 if images else 5, 4)
    axes = figure.add_subplot(1, 1 + images, 1)
    bins = np.linspace(0, 1, 41)
    for ratios, colour, name in ((of_x, BLUE, "test rows"), (of_samples, ORANGE, "samples")):
        axes.hist(ratios, bins, density=True, histtype="step", color=colour, label=name)
    axes.set(xlabel="distance to the nearest training row, over that to the next", ylabel="density")
    axes.legend(fontsize=8, loc="upper left")
    axes.grid(alpha=0.3, color=GREY)
    if images:
        both = np.concatenate([closest, beside]).astype("float64")
        shown = np.round(255 * (both - both.min()) / (np.ptp(both) or 1)).astype("uint8")
        place = figure.add_subplot(1, 2, 2)
        place.imshow(image_grid(shown, columns=len(closest)), cmap="gray", vmin=0, vmax=255)
        place.set_title("closest samples, above their training rows", fontsize=7)
        place.set_axis_off()
    return figure
