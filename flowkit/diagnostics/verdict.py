"""A verdict on a flow of rows: is it any good, where is it worst, and what to try next."""

from typing import Any

import numpy as np

from flowkit.contract import Context, Tensor
from flowkit.contract.arguments import Count, checked
from flowkit.data.column_types import Number
from flowkit.data.frame import is_frame
from flowkit.data.typed_columns import ContextColumns, TypedColumns
from flowkit.diagnostics.columns import features, told_apart, worst_column, worst_pair
from flowkit.diagnostics.finding import Finding, histograms
from flowkit.distributions import MixtureOfFlows
from flowkit.flow import Flow, inputs
from flowkit.flow.seeding import seeded
from flowkit.tables import TableFlow, table_flow
from flowkit.training.pictures import new_figure

LEAST = 5  # rows
_ADAPTED = 10_000  # rows that a copula is fitted to
_FEW = 1_000  # rows to train on
_TOLD, _POOR, _OFF = 0.6, 0.75, 0.1  # C2ST, and a difference, that matter
_PASSED = {"Good": True, "Fair": None, "Poor": False}


@checked
def verdict(
    flow: Flow,
    x: Tensor,
    context: Context = None,
    *,
    train: Tensor | None = None,
    train_context: Context = None,
    rows: Count = 1_000,
    batch_size: int | None = None,
    seed: int = 0,
) -> Finding:
    """Return in one paragraph if a flow of rows is any good: `sentence`, which is also its `str()`.

    It compares `x`, rows that the flow was not trained on, with as many draws, in a few seconds:

    - log p of `x` in nats, and how far it is above that of a Gaussian copula in closed form, if `train` is given: the
      rows that the flow was trained on. A copula knows the columns, their types and their correlations, and no more.
    - C2ST, the share of rows that a classifier assigns rightly to data or draws: 0.5 is best.
    - The worst column: the largest difference between data and draws of the share of rows that have a category, a
      missing entry, or a number up to some limit.
    - The worst pair of columns: the largest difference of their rank correlation; of a category it is that of its
      indicator. Chance goes as far in 1 of 100 right flows: it is that of rows of `x` that change places with draws.
    - What to try next.

    `passed` is True ("Good") if the flow is not behind the copula by 2 standard errors, C2ST is below 0.6 or chance,
    and no column or pair is off by 0.1 and more than chance; False ("Poor") if it is behind, C2ST is 0.75 or more, or
    log p is not finite; otherwise None ("Fair"). Beyond `rows` rows of `x` are left out. Frames of a conditional
    `TableFlow` hold the given columns too, and draws are then given those of `x`.

    Raises ValueError for fewer than five rows, events that are no rows, and a context that is no table. Lopez-Paz &
    Oquab, Revisiting Classifier Two-Sample Tests (2017), for C2ST.

    >>> from flowkit.bijectors import Scale
    >>> flow = Flow(Scale(0.0))
    >>> flow.build((None, 2))
    >>> x, train = np.random.default_rng(0).normal(size=(2, 500, 2))
    >>> verdict(flow, x, train=train).passed, verdict(flow, x * [1, 3], train=train * [1, 3]).passed
    (True, False)
    """
    if reason := no_verdict(flow, x, context):
        raise ValueError(f"verdict: got {reason}")
    how: dict[str, Any] = {"batch_size": batch_size, "seed": seed}
    x, context, refused = _some(flow, x, context, rows, seed)
    log_prob = np.asarray(flow.log_prob(x, context, **how), "float64")
    numbers: dict[str, Any] = {"rows": len(x), "refused": refused} | _mean("log_prob", log_prob)
    if not np.isfinite(log_prob).all():
        sentence = (
            "Poor. log p of held-out rows is not finite. Next: train anew with a smaller learning rate."
        )
        return Finding("verdict", sentence, numbers, False, lambda: new_figure(5, 4))
    if train is not None:
        numbers["train_rows"] = len(train)
        if context is None or train_context is not None or is_frame(train):
            known = copula(flow, *_some(flow, train, train_context, _ADAPTED, seed)[:2], seed=seed)
            its = np.asarray(known.log_prob(x, context, **how), "float64")
            numbers |= _mean("ahead_of_copula", log_prob - its) if np.isfinite(its).all() else {}
    found, modelled = _features(flow, x, context, how)
    column, pair = worst_column(found, modelled, seed), worst_pair(found, modelled, seed)
    numbers["c2st"] = told_apart(found, seed)
    numbers["c2st_by_chance"] = 0.5 + 2.33 * 0.5 / (2 * len(x)) ** 0.5
    for name, one in (("worst_column", column), ("worst_pair", pair)):
        numbers[name] = None if one is None else _stored(one, found)
    grade = _grade(numbers, column, pair)
    numbers["next"] = _next(flow, numbers, found, column, pair)
    sentence = " ".join([f"{grade}.", *_sentences(flow, numbers, column, pair), f"Next: {numbers['next']}"])
    return Finding("verdict", sentence, numbers, _PASSED[grade], lambda: _draw(found, column, pair))


def no_verdict(flow: Flow, x: Tensor, context: Context = None) -> str | None:
    """Return why there is no verdict on these rows, in words after "got"; None if there is one."""
    if len(flow.event_shape) != 1:
        return f"events of shape {tuple(flow.event_shape)}, expected rows of a table."
    if flow.bijector.spec.inverse == "none":
        return "a flow without an inverse, expected one that draws samples."
    if context is not None and not is_frame(context) and np.ndim(context) != 2:
        return "a context that is no table, expected a row of numbers for each row."
    if len(x) < LEAST:
        return f"{len(x)} rows, expected at least {LEAST}."
    return None


def copula(flow: Flow, train: np.ndarray, context: np.ndarray | None = None, *, seed: int = 0) -> TableFlow:
    """Return the Gaussian copula of rows in closed form, as a flow with smooth estimates of the columns.

    It knows the types of the flow's columns; with a context, its normal scores are linear in those of the context.
    """
    types, given = flow.columns, getattr(flow, "context_columns", None)
    real = Number("real", quantiles=(0.0,))
    if not isinstance(types, TypedColumns):
        types = TypedColumns(tuple(range(train.shape[1])), None, (real,) * train.shape[1])
    if context is not None and given is None:
        given = ContextColumns(tuple(range(context.shape[1])), None, (real,) * context.shape[1])
    with seeded(seed):
        found = table_flow(types, given, layers=1, hidden=[1])
    return found.adapt(train, context)


def _some(flow, x, context, most, seed):
    """Return (at most so many rows, from anywhere, as numbers, their context, how many rows the flow excludes)."""
    wrong: dict[int, str] = {}
    if isinstance(flow, TableFlow):
        x, context = flow.split(x, context)
        if is_frame(x):
            x, wrong = flow.columns.coded(x)
        if is_frame(context):
            context, more = flow.context_columns.coded(context)
            wrong = wrong | more
    x, context = inputs.checked_data(flow, x, context)
    right = np.setdiff1d(np.arange(len(x)), list(wrong))
    kept = np.sort(np.random.default_rng(seed).permutation(right)[:most])
    return x[kept], None if context is None else np.asarray(context)[kept], len(wrong)


def _features(flow, x, context, how):
    """Return (features of rows and as many draws, how many of their columns are modelled)."""
    columns, given = flow.columns, getattr(flow, "context_columns", None)
    names = list(range(x.shape[1])) if columns is None else list(columns.names)
    types = list(columns.types) if isinstance(columns, TypedColumns) else [None] * len(names)
    if context is None:
        drawn = inputs.as_array(flow, flow.sample(len(x), check=None, **how))
        return features(names, types, np.concatenate([x, drawn])), len(names)
    drawn = flow.sample(1, context, check=None, **how)[0]
    codes = np.hstack([np.concatenate([x, drawn]), np.tile(context, (2, 1))])
    if given is None:
        seen = [f"context {place}" for place in range(context.shape[1])]
    else:
        sizes = [len(kind.features(np.ones(1))) for kind in given.types]
        seen = [name for name, size in zip(given.names, sizes, strict=True) for _ in range(size)]
    return features([*names, *seen], [*types, *[None] * len(seen)], codes), len(names)


def _mean(name, values):
    """Return the mean and its standard error, NaN if a value is infinite."""
    with np.errstate(invalid="ignore"):
        error = values.std() / len(values) ** 0.5
    return {name: float(values.mean()), f"{name}_error": float(error)}


def _stored(one, found):
    columns = [str(found.names[found.places[at]]) for at in one.at]
    return {"columns": columns, "of": one.words, "data": one.data, "draws": one.draws, "chance": one.chance}


def _grade(numbers, column, pair):
    told = numbers["c2st"] if numbers["c2st"] > numbers["c2st_by_chance"] else 0.5
    off = any(one is not None and one.real and one.size >= _OFF for one in (column, pair))
    if _behind(numbers) or told >= _POOR:
        return "Poor"
    return "Fair" if off or told >= _TOLD else "Good"


def _behind(numbers):
    """Return True if the flow is behind the copula by more than two standard errors."""
    return numbers.get("ahead_of_copula", 0.0) < -2 * numbers.get("ahead_of_copula_error", 0.0)


def _sentences(flow, numbers, column, pair):
    """Yield what was found."""
    least = "" if flow.exact == "exact" else "at least "
    text = f"log p of {numbers['rows']:,} held-out rows is {least}{numbers['log_prob']:.2f} +- "
    text += f"{numbers['log_prob_error']:.2f} nats"
    if "ahead_of_copula" in numbers:
        ahead, error = numbers["ahead_of_copula"], numbers["ahead_of_copula_error"]
        text += (
            f", {abs(ahead):.2f} +- {error:.2f} {'more' if ahead >= 0 else 'less'} than by a Gaussian copula"
        )
    yield text + "."
    if numbers["refused"]:
        yield f"{numbers['refused']:,} other rows hold entries that the flow excludes."
    yield (
        f"A classifier tells {numbers['c2st']:.0%} of held-out rows and draws apart (C2ST; 50% is best, up to "
        f"{numbers['c2st_by_chance']:.0%} is chance)."
    )
    shares = f"{column.data:.0%} of held-out rows, {column.draws:.0%} of draws"
    yield f"Worst column: {column.words} in {shares}{_doubt(column)}."
    if pair is not None:
        both = f"{pair.data:.2f} in held-out rows, {pair.draws:.2f} in draws"
        yield f"Worst pair: {pair.words}, whose correlation is {both}{_doubt(pair)}."


def _doubt(difference):
    return "" if difference.real else ", which may be chance"


def _next(flow, numbers, found, column, pair):
    """Return what to try next: the first rule that applies."""
    few = numbers.get("train_rows", _FEW) < _FEW
    if numbers["refused"] > numbers["rows"] // 100:
        return "set the types of columns so that they hold all entries, types= (--types)."
    if _behind(numbers):
        return "give more rows, or a smaller flow, layers=2 (--set model.layers=2): it has learned rows by heart."
    if column.real and column.size >= _OFF:
        return _about_column(flow, found, column.at[0])
    told = numbers["c2st"] >= max(_TOLD, numbers["c2st_by_chance"])
    if told or (pair is not None and pair.real and pair.size >= _OFF):
        if few:
            more = (
                ""
                if isinstance(flow.base, MixtureOfFlows)
                else "; in Python effort='thorough' gains most on few"
            )
            return f"give more rows{more}."
        return "train longer, epochs= (--epochs), then with more layers, layers= (--set model.layers=)."
    if numbers["rows"] < _FEW // 10:
        return f"nothing to mend that {numbers['rows']} held-out rows show; small faults need 100 or more to be seen."
    return "nothing to mend."


def _about_column(flow, found, at):
    """Return what to try for a column that is off."""
    name, kind = found.names[found.places[at]], found.kinds[at]
    data, draws = np.split(found.values[:, at], 2)
    typed = isinstance(flow, TableFlow)
    if kind:
        values, counts = np.unique(data, return_counts=True)
        often = values[np.argmax(counts)]
        if counts.max() > max(3, len(data) / 20) and getattr(kind, "decimals", None) is None and typed:
            word = f"types={{{name!r}: '|{often:g}'}} (--types '{name}=|{often:g}')"
            return f"{name} is often {often:g}: make it an atom, {word}."
        low, high = data.min(), data.max()
        if np.mean((draws < low) | (draws > high)) > 0.02:
            bounds = "types=" if typed else "domains="
            return f"draws of {name} lie beyond the data: set its bounds, {bounds}{{{name!r}: (low, high)}}."
    word = f", {kind.word}," if typed and kind else ""
    return f"look if the type of {name}{word} is right, then train longer, epochs= (--epochs)."


def _draw(found, column, pair):
    """Draw the worst column, and the worst pair."""
    figure = new_figure(9, 4)
    both = dict(zip(("held-out rows", "draws"), np.split(found.values, 2), strict=True))
    at = column.at[0]
    axes = figure.add_subplot(1, 2, 1, xlabel=found.words[at], yticks=[])
    bins = np.histogram_bin_edges(found.values[:, at], 40)
    histograms(axes, bins, *((name, of[:, at]) for name, of in both.items()))
    if pair is not None:
        one, other = pair.at
        axes = figure.add_subplot(1, 2, 2, xlabel=found.words[one], ylabel=found.words[other])
        for of in both.values():
            axes.plot(of[:, one], of[:, other], ".", markersize=3, alpha=0.5)
    return figure
