"""Mixed tables: from a frame to a trained flow of its rows."""

from collections.abc import Iterable, Mapping
from inspect import signature
from typing import Annotated, Any

import keras
import narwhals as nw
import numpy as np
from narwhals.typing import IntoDataFrame

from flowkit import zoo
from flowkit.bijectors import Chain
from flowkit.conditioners import MLP
from flowkit.contract.arguments import Count, Fraction, checked, one_of, words
from flowkit.data.column_types import absent_of
from flowkit.data.frame import Columns, is_frame
from flowkit.data.typed_columns import ContextColumns, TypedColumns, split_names
from flowkit.flow.seeding import fit_in_order, seeded
from flowkit.flow.table import TableFlow
from flowkit.surjections import DequantizeColumns
from flowkit.training import Validation
from flowkit.zoo.family import built

__all__ = ["fit_table", "table_flow"]

_FEW = 1000  # rows, below which a flow is small, and is trained again on all of them
_STEPS = 4000  # of training, if `epochs` does not say
_EPOCHS = 200  # at most


def table_flow(
    columns: TypedColumns, given: ContextColumns | None = None, *, model: str = "nsf", **options: Any
) -> TableFlow:
    """Return an untrained flow of the rows of a table: `DequantizeColumns`, then a family of `flowkit.zoo`.

    - `columns`: the types of the columns. `given`: those of the columns that it is conditioned on, or None.
    - `model`: a family of vectors that takes `domains`, such as "nsf" or "nsf_autoregressive"; `options` are its own.

    Raises ValueError for what the family refuses.
    """
    families = {name for name, make in zoo.VECTORS.items() if "domains" in signature(make).parameters}
    one_of("model", model, sorted(families))
    coded = any(coding[0] in ("whole", "cycle", "category") for coding in columns.codings)
    front = None
    if coded or columns.missing:
        front = DequantizeColumns(columns.codings, missing=columns.missing, conditioner=MLP([64, 64]))
    domains = columns.codings if front is None else front.coordinates
    if model == "nsf" and len(domains) == 1:
        model = "nsf_autoregressive"  # a coupling needs two
    given_size = 0 if given is None else given.size
    inner = zoo.VECTORS[model](features=len(domains), domains=list(domains), context=given_size, **options)
    bijector = inner.bijector if front is None else Chain([front, inner.bijector])
    flow = TableFlow(bijector, inner.base, embedding=inner.embedding, name="table")
    flow.columns, flow.context_columns = columns, given
    return built(flow, (len(columns.names),), (None, given_size) if given_size else None)


@checked
def fit_table(
    frame: IntoDataFrame,
    *,
    types: Mapping[Any, Any] | None = None,
    drop: Iterable[Any] = (),
    given: Iterable[Any] = (),
    missing: Annotated[str, words("model", "drop")] = "model",
    unseen: Fraction | None = None,
    epochs: Count | None = None,
    batch_size: Count = 256,
    learning_rate: float = 1e-3,
    validation: Fraction = 0.1,
    seed: int = 0,
    verbose: int = 1,
    model: str = "nsf",
    **options: Any,
) -> TableFlow:
    """Return a flow trained on the rows of a mixed table, a pandas or polars frame.

    Columns may hold real, positive, bounded or circular numbers, whole numbers and other numbers in steps, categories,
    dates and missing entries. Their types are inferred, and printed as one table.

    - `types`: {column: type} in place of what is inferred: "real", "positive", (low, high), "circular" (an angle),
      ("circular", low, high), "whole", ("whole", low, high), "category" or "date".
    - `drop`: columns to leave out. `given`: columns that the others are conditioned on.
    - `missing`: "model" models which entries are missing beside what is there; "drop" leaves such rows out.
    - `unseen`: the share of new rows whose category in a column is none of the data's, for `log_prob`. By default it is
      the share of the column's rows whose category occurs once (Good, 1953), and 0 for True and False and for ordered
      categories.
    - `epochs`: None trains for some 4,000 steps. The weights that are best on a share `validation` of the rows, which
      are not trained on, are kept; they may be those of the start, a Gaussian copula of the columns. Below 1,000 rows a
      second flow is then trained on all rows for as many epochs, and returned; the score printed is that of the first.
    - `model`, `options`: a family of `flowkit.zoo`, and arguments for it, such as `layers=4`. Below 1,000 rows it has 4
      layers, and `nsf` networks of widths (64, 64), if these do not say otherwise.

    Samples are frames with the types and categories of the data. Numbers of which new rows are likely to hold others
    than the data, since some occur once, may lie beyond them, but not across 0. If all numbers or dates occur often,
    others have no probability, and if they are few of the steps between their ends, such as the firsts of months,
    samples are among them, unless `types` has the column.
    `TableFlow` explains `log_prob`.

    Raises TypeError for what is no frame, and ValueError for fewer than two rows, for columns without a type, all named
    at once, and for column names that are not there.

    >>> import pandas  # doctest: +SKIP
    >>> frame = pandas.DataFrame({"size": [1, 3, 2] * 20, "kind": ["b", "a", "b"] * 20})  # doctest: +SKIP
    >>> flow = fit_table(frame, layers=2, epochs=2, verbose=0)  # doctest: +SKIP
    >>> flow.sample(2).dtypes.tolist() == frame.dtypes.tolist()  # doctest: +SKIP
    True
    """
    if not is_frame(frame):
        raise TypeError(f"fit_table: got {type(frame).__name__}, expected a pandas or polars DataFrame.")
    names, given = split_names(Columns.of(frame).names, given, drop)
    frame = frame[[*names, *given]]
    if missing == "drop":
        complete = _complete(frame)
        if verbose:
            print(f"dropped {len(frame) - len(complete):,} of {len(frame):,} rows with missing entries")
        frame = complete
    if len(frame) < 2:
        raise ValueError(
            f"fit_table: got a table of {len(frame)} row{'s' * (len(frame) != 1)}, expected at least 2."
        )
    inferred = TypedColumns.infer(frame, types)
    if unseen is not None:
        inferred = inferred.with_unseen(unseen)
    columns, given_columns = inferred.some(names), inferred.some(given, ContextColumns)
    if verbose:
        print(inferred)
    if len(frame) < _FEW:
        small = {"layers": 4, "hidden": (64, 64)} if model == "nsf" else {"layers": 4}
        options = small | options
    with seeded(seed):
        flow = table_flow(columns, given_columns, model=model, **options)
    x = columns.values(frame[names])
    context = given_columns.values(frame[given]) if given else None
    order = np.random.default_rng(seed).permutation(len(x))
    count = min(round(validation * len(x)), len(x) - 1)
    held, rows = (
        (x[some], None if context is None else context[some]) for some in (order[:count], order[count:])
    )
    training = {"batch_size": batch_size, "learning_rate": learning_rate, "seed": seed, "verbose": verbose}
    done = _fit(flow, *rows, held if count else None, epochs, **training)
    if verbose and count:
        scores = flow.log_prob(*held)
        mean, error = scores.mean(), scores.std() / count**0.5
        what = "log p" if flow.exact == "exact" else "log p, at least"
        print(f"{what}: {mean:.3f} +- {error:.3f} nats on {count:,} rows held out")
    if count and len(frame) < _FEW:
        with seeded(seed):
            flow = table_flow(columns, given_columns, model=model, **options)
        _fit(flow, x, context, None, epochs, until=done, **training)
    return flow


def _complete(frame):
    """Return the rows of a frame without missing entries."""
    absent = np.any([absent_of(series) for series in Columns.of(frame).in_order(frame)], axis=0)
    return nw.from_native(frame, eager_only=True).filter((~absent).tolist()).to_native()


def _fit(flow, x, context, held_out, epochs, *, batch_size, learning_rate, seed, verbose, until=None):
    """Train a flow by Adam, with a rate that falls to 0; end after `until` of the epochs, None for all.

    Keep the weights that are best on what is held out, and return after how many epochs they were found.
    """
    batch_size = min(batch_size, len(x))
    steps = -(-len(x) // batch_size)
    epochs = min(_EPOCHS, -(-_STEPS // steps)) if epochs is None else epochs
    rate = keras.optimizers.schedules.CosineDecay(learning_rate, epochs * steps)
    flow.compile(optimizer=keras.optimizers.Adam(rate, global_clipnorm=5.0))
    if until == 0:
        flow.adapt(x, context)
        return 0
    best = None
    if held_out is not None:
        best = Validation(*held_out, early_stopping=max(5, epochs // 5), keep_best=True)
    fit_in_order(
        flow,
        x,
        context,
        batch_size=batch_size,
        seed=seed,
        epochs=epochs if until is None else until,
        callbacks=[] if best is None else [best],
        verbose=2 if verbose > 1 else 0,
    )
    return epochs if best is None or best.best is None else best.best_epoch + 1
