"""Train a flow on the rows of a frame."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
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
from flowkit.data.entries import absent_of
from flowkit.data.frame import Columns, is_frame
from flowkit.data.typed_columns import ContextColumns, TypedColumns, require_columns, split_names
from flowkit.distributions import MixtureOfFlows
from flowkit.flow import inputs
from flowkit.flow.adapting import by_weight
from flowkit.flow.rows import map_leaves
from flowkit.flow.seeding import fit_in_order, seeded
from flowkit.flow.weighted import effective
from flowkit.surjections import DequantizeColumns
from flowkit.tables.table_flow import TableFlow
from flowkit.training import Validation
from flowkit.zoo.family import built

FEW = 1000  # rows, below which a flow is small, and is trained again on all of them
SMALL = {"layers": 4, "hidden": [64, 64]}  # arguments of a small nsf
_STEPS = {"quick": 1000, "default": 4000, "thorough": 4000}  # of training, if `epochs` does not say
_MEMBERS = 5  # of the mixture that "thorough" returns
_EPOCHS = 200  # at most


def table_flow(
    columns: TypedColumns,
    given: ContextColumns | None = None,
    *,
    model: str = "nsf",
    like: TableFlow | None = None,
    **options: Any,
) -> TableFlow:
    """Return an untrained flow of the rows of a table: `DequantizeColumns`, then a family of `flowkit.zoo`.

    - `columns`: the types of the columns. `given`: those of the columns that it is conditioned on, or None.
    - `model`: a family of vectors that takes `domains`, such as "nsf" or "nsf_autoregressive"; `options` are its own.
    - `like`: a trained flow of such rows, whose dequantisation and embedding, no longer trained, this one has too.

    Raises ValueError for what the family refuses.
    """
    families = {name for name, make in zoo.VECTORS.items() if "domains" in signature(make).parameters}
    one_of("model", model, sorted(families))
    coded = any(coding[0] in ("whole", "cycle", "category") for coding in columns.codings)
    front = None
    if like is not None:
        front = _front_of(like)
    elif coded or columns.missing or columns.atoms:
        front = DequantizeColumns(
            columns.codings, missing=columns.missing, atoms=columns.atoms, conditioner=MLP([64, 64])
        )
    domains = columns.codings if front is None else front.coordinates
    if model == "nsf" and len(domains) == 1:
        model = "nsf_autoregressive"  # a coupling needs two
    given_size = 0 if given is None else given.size
    inner = zoo.VECTORS[model](features=len(domains), domains=list(domains), context=given_size, **options)
    embedding = inner.embedding if like is None else like.embedding
    for layer in (front, embedding) if like is not None else ():
        if layer is not None:
            layer.trainable = False
    bijector = inner.bijector if front is None else Chain([front, inner.bijector])
    return _of_columns(columns, given, bijector, inner.base, embedding)


def _of_columns(columns, given, bijector, base, embedding):
    """Return a built flow of rows with their types."""
    flow = TableFlow(bijector, base, embedding=embedding, name="table")
    flow.columns, flow.context_columns = columns, given
    return built(flow, (len(columns.names),), None if given is None else (None, given.size))


@checked
def fit_table(
    frame: IntoDataFrame,
    *,
    types: Mapping[Any, Any] | None = None,
    drop: Iterable[Any] = (),
    given: Iterable[Any] = (),
    missing: Annotated[str, words("model", "drop")] = "model",
    unseen: Fraction | None = None,
    effort: Annotated[str, words("quick", "default", "thorough")] = "default",
    epochs: Count | None = None,
    batch_size: Count = 256,
    learning_rate: float = 1e-3,
    validation: Fraction = 0.1,
    sample_weight: Any = None,
    seed: int = 0,
    verbose: int = 1,
    model: str = "nsf",
    **options: Any,
) -> TableFlow:
    """Return a flow trained on the rows of a mixed table, a pandas or polars frame.

    Columns may hold real, positive, bounded or circular numbers, whole numbers and other numbers in steps, categories,
    dates and missing entries, and atoms: a number that occurs far more often than others allow, such as 0 of rain or a
    sensor's -999, is one, with a probability of its own. Their types are inferred, and printed as one table. Columns
    that only number or name the rows are left out, unless they are in `types` or `given`.

    - `types`: {column: type} in place of what is inferred: "real", "positive", (low, high), "circular" (an angle),
      ("circular", low, high), "whole", ("whole", low, high), "category" or "date". Atoms follow: "positive|0",
      "real|-999|0", (0, 100, "|0"); without them, the column has none.
    - `drop`: columns to leave out. `given`: columns that the others are conditioned on.
    - `missing`: "model" models which entries are missing beside what is there; "drop" leaves such rows out.
    - `unseen`: the share of new rows whose category in a column is none of the data's, for `log_prob`. By default it is
      the share of the column's rows whose category occurs once (Good, 1953), half a row if none does, and 0 for True
      and False and for ordered categories.
    - `epochs`: None trains for some 4,000 steps. The weights that are best on a share `validation` of the rows, which
      are not trained on, are kept; they may be those of the start, a Gaussian copula of the columns. Below 1,000 rows a
      second flow is then trained on all rows for as many epochs, and returned; the score printed is that of the first.
    - `sample_weight`: a number from 0 up for each row, as an array or the name of a column, which is then not modelled.
      By it a row counts in the start, in training and in held-out scores: a row of weight 2 as two of them. Inferred
      types and quantiles count each row once.
    - `effort`: "quick" trains for some 1,000 steps, and once. "thorough" trains four more flows, from other starts and
      with other rows held out, and returns a flow whose base, a `flowkit.distributions.MixtureOfFlows`, mixes the
      five: it takes five times as long, and its held-out likelihood is higher on almost any table, most on small ones.
    - `model`, `options`: a family of `flowkit.zoo`, and arguments for it, such as `layers=4`. Below 1,000 rows it has 4
      layers, and `nsf` networks of widths (64, 64), if these do not say otherwise.

    Samples are frames with the types and categories of the data. If some numbers of a column occur once, new rows
    probably hold others: samples may lie beyond the data, on the same side of 0. If each number or date occurs often,
    samples lie between the least and the greatest of the data; if the data take few of the steps between the two, such
    as the firsts of months, samples are among the data's. All others have no probability. `types` changes that for a
    column. `TableFlow` explains `log_prob`.

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
    weights, drop = _weights(frame, sample_weight, drop)
    names, given = split_names(Columns.of(frame).names, given, drop)
    frame = frame[[*names, *given]]
    kept = np.ones(len(frame), bool) if weights is None else weights > 0
    if missing == "drop":
        complete = ~np.any([absent_of(series) for series in Columns.of(frame).in_order(frame)], axis=0)
        if verbose:
            print(f"dropped {np.sum(~complete):,} of {len(frame):,} rows with missing entries")
        kept &= complete
    if not kept.all():
        frame = nw.from_native(frame, eager_only=True).filter(kept.tolist()).to_native()
        weights = None if weights is None else weights[kept]
    if len(frame) < 2:
        raise ValueError(
            f"fit_table: got a table of {len(frame)} row{'s' * (len(frame) != 1)}, expected at least 2."
        )
    inferred = TypedColumns.infer(frame, types, given)
    if unseen is not None:
        inferred = inferred.with_unseen(unseen)
    columns, given_columns = inferred.some(names), inferred.some(given, ContextColumns)
    if verbose:
        print(inferred)
    few = len(frame) < FEW
    if few:
        options = (SMALL if model == "nsf" else {"layers": SMALL["layers"]}) | options

    def make(number, like=None):
        with seeded(seed + number):
            return table_flow(columns, given_columns, model=model, like=like, **options)

    x = columns.values(frame[names])
    training = _Training(
        make,
        x,
        given_columns.values(frame[given]) if given else None,
        weights,
        held=min(round(validation * len(x)), len(x) - 1),
        epochs=epochs or min(_EPOCHS, -(-_STEPS[effort] // -(-len(x) // batch_size))),
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        verbose=verbose,
    )
    flow, best = training.first()
    again = best if few and training.held and effort != "quick" else None
    if again is not None:
        flow = training.on_all_rows(0, again)
    if effort != "thorough" or best == 0:
        return flow
    return _mixture([flow, *(training.member(number, flow, again) for number in range(1, _MEMBERS))])


def _weights(frame, given, drop):
    """Return (the weights of rows or None, the columns to leave out, that of the weights among them)."""
    if given is None:
        return None, drop
    if isinstance(given, str | int):
        require_columns("sample_weight", [given], frame.columns)
        given, drop = frame[given].to_numpy(), [*drop, given]
    return inputs.row_weights(given, len(frame), "sample_weight"), drop


@dataclass
class _Training:
    """Train the flows of one table: `make(number, like)` makes one, and `held` rows are held out."""

    make: Callable[..., TableFlow]
    x: np.ndarray
    context: np.ndarray | None
    weights: np.ndarray | None
    held: int
    epochs: int
    batch_size: int
    learning_rate: float
    seed: int
    verbose: int

    def first(self):
        """Return (a flow, after how many epochs it was best), and print its score."""
        flow = self.make(0)
        held, rows = self.split(0)
        best = self.fit(flow, 0, rows, held)
        if self.verbose and self.held:
            scores, weights = flow.log_prob(*held[:2]), held[2]
            mean = np.average(scores, weights=weights)
            count = self.held if weights is None else effective(weights)
            error = (np.average((scores - mean) ** 2, weights=weights) / count) ** 0.5
            what = "log p" if flow.exact == "exact" else "log p, at least"
            print(f"{what}: {mean:.3f} +- {error:.3f} nats on {self.held:,} rows held out")
        return flow, best

    def on_all_rows(self, number, epochs, like=None):
        """Return a flow that is trained on all rows for so many epochs."""
        flow = self.make(number, like)
        self.fit(flow, number, (self.x, self.context, self.weights), None, epochs)
        return flow

    def member(self, number, like, epochs):
        """Return one more flow with the front of `like`; other rows are held out if `epochs` is None."""
        if epochs is not None:
            return self.on_all_rows(number, epochs, like)
        flow = self.make(number, like)
        held, rows = self.split(number)
        self.fit(flow, number, rows, held)
        return flow

    def split(self, number):
        """Return (the rows held out, the others), each as (rows, context, weights): others for each `number`."""
        order = np.roll(np.random.default_rng(self.seed).permutation(len(self.x)), -number * self.held)
        parts = order[: self.held], order[self.held :]
        return [map_leaves(lambda of: of[some], (self.x, self.context, self.weights)) for some in parts]  # noqa: B023

    def fit(self, flow, number, rows, held, until=None):
        """Train by Adam, with a rate that falls to 0; end after `until` of the epochs, None for all.

        Keep the weights that are best on what is held out, and return after how many epochs they were found.
        """
        x, context, weights = rows
        batch_size = min(self.batch_size, len(x))
        rate = keras.optimizers.schedules.CosineDecay(
            self.learning_rate, self.epochs * -(-len(x) // batch_size)
        )
        flow.compile(optimizer=keras.optimizers.Adam(rate, global_clipnorm=5.0))
        if until == 0:
            flow.adapt(*((x, context) if weights is None else by_weight(flow, *rows)))
            flow.optimizer.build(flow.trainable_variables)  # Keras warns of a file with one that is not built
            return 0
        best = None
        if held is not None and len(held[0]):
            best = Validation(*held[:2], sample_weight=held[2], early_stopping=max(5, self.epochs // 5))
        fit_in_order(
            flow,
            x,
            context,
            sample_weight=weights,
            batch_size=batch_size,
            seed=self.seed + number,
            epochs=self.epochs if until is None else until,
            callbacks=[] if best is None else [best],
            verbose=2 if self.verbose > 1 else 0,
        )
        return self.epochs if best is None or best.best is None else best.best_epoch + 1


def _mixture(members):
    """Return the mixture of flows that share a front and an embedding."""
    first = members[0]
    front = _front_of(first)
    inner = [member.bijector if front is None else member.bijector.parts[1] for member in members]
    for layer in (front, first.embedding):
        if layer is not None:
            layer.trainable = True
    base = MixtureOfFlows(inner, first.base)
    front = Chain([]) if front is None else front
    return _of_columns(first.columns, first.context_columns, front, base, first.embedding)


def _front_of(flow):
    """Return the first layer of a flow if it makes coordinates of coded columns; None if it has none."""
    first = flow.bijector.parts[0]
    return first if isinstance(first, DequantizeColumns) else None
