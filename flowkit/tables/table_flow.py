"""A flow of the rows of a mixed table: frames in, frames out."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any

import keras
import narwhals as nw
import numpy as np

from flowkit.contract import Context, Tensor
from flowkit.contract.arguments import Between0And1, Count, checked, whole, whole_number
from flowkit.data.frame import Columns, is_frame
from flowkit.data.typed_columns import TypedColumns
from flowkit.flow import inputs
from flowkit.flow.flow import Flow
from flowkit.flow.inputs import check_context
from flowkit.flow.rows import in_batches, noise_of_rows, run_without_gradients
from flowkit.flow.sampling import entropy
from flowkit.tables.detector import Detector
from flowkit.tables.fixed_entries import fixed_codes, rows_with
from flowkit.tables.gibbs import sweep

Candidates = Annotated[int, whole(2)]


@keras.saving.register_keras_serializable("flowkit")
class TableFlow(Flow):
    """A `Flow` of the rows of frames, whose `columns` know their types: what `flowkit.fit_table` returns.

    Methods take the table's frames, of pandas or polars. For a conditional table, with `given=`, those of `log_prob`
    and `impute` also hold the columns that it is conditioned on, unless these come as `context=`.

    `log_prob` is log p(row) in nats: the probability of its categories, whole numbers, dates and missing entries,
    times the density of its real numbers per unit of each (so it changes with the units of real columns alone).
    `exact` says what it is: "exact" for a table of real columns, otherwise a "bound": a lower one, on average over the
    draws of `DequantizeColumns`; `samples=` more draws make it tighter.

    >>> import flowkit, pandas  # doctest: +SKIP
    >>> frame = pandas.DataFrame({"size": [1, 3, 2] * 20, "kind": ["b", "a", "b"] * 20})  # doctest: +SKIP
    >>> flow = flowkit.fit_table(frame, layers=2, epochs=2, verbose=0)  # doctest: +SKIP
    >>> flow.log_prob(frame.head(2)).name, flow.exact  # doctest: +SKIP
    ('log_prob_bound', 'bound')
    """

    columns: TypedColumns
    context_columns: Any

    def log_prob(self, x: Tensor, context: Context = None, **options: Any) -> Tensor:
        """Return log p of each row of a frame, as a Series with the frame's index: see `Flow.log_prob`.

        It is named "log_prob" if it is exact, and "log_prob_bound" if it is a lower bound. A row with a category that
        was not seen has the probability of the rest of the row, times the share that `fit_table(unseen=)` explains; one
        with seen categories has the rest. A row is impossible, and has -inf, if a number is outside of its column's
        set, or if an entry is missing in a column without missing ones in training. `log_prob` warns of such rows, with
        the first wrong entry. In place of a given category that was not seen, networks see how often each one was.
        """
        rows, context = self.split(x, context)
        if not is_frame(x):
            return super().log_prob(rows, context, **options) + self.columns.log_seen
        log_prob, impossible = self.scored(rows, context, **options)
        if impossible:
            warnings.warn(
                f"log_prob: {len(impossible):,} of {len(log_prob):,} rows are impossible and have -inf, the first: got "
                f"{impossible[min(impossible)]}.",
                stacklevel=2,
            )
        name = "log_prob" if self.exact == "exact" else f"log_prob_{self.exact}"
        series = nw.new_series(name, log_prob, backend=nw.get_native_namespace(x)).to_native()
        index = nw.maybe_get_index(nw.from_native(x, eager_only=True))
        return series if index is None else series.set_axis(index)

    def scored(
        self, rows: Any, context: Any = None, *, density: Callable[..., Any] | None = None, **options: Any
    ) -> tuple[np.ndarray, dict[int, str]]:
        """Return (log p of each row of a frame, {row: a wrong entry, in words} of those that have -inf).

        `context` has the given columns: a frame, or what the flow takes. `density(codes, context, **options)` is log p
        of codes, in place of `Flow.log_prob`.
        """
        density = density or super().log_prob
        codes, wrong = self.columns.coded(rows)
        completed = self.columns.completed(rows) if wrong else {}
        if is_frame(context):
            context, wrong_given = self.context_columns.coded(context)
            wrong = wrong_given | wrong
            completed = {row: of for row, of in completed.items() if row not in wrong_given}
        log_prob = np.full(len(codes), -np.inf, self.compute_dtype)
        if len(wrong) < len(codes):  # a wrong row has the codes of a right one
            log_prob = density(codes, context, **options) + self.columns.log_seen
            log_prob[list(wrong)] = -np.inf
        if completed:
            parts = [each for each, _ in completed.values()]
            sizes = [len(each) for each in parts]
            its = None if context is None else context[np.repeat(list(completed), sizes)]
            found = density(np.concatenate(parts), its, **options)
            starts = np.cumsum([0, *sizes[:-1]])
            shares = [log_share for _, log_share in completed.values()]
            log_prob[list(completed)] = np.logaddexp.reduceat(found, starts) + shares
        return log_prob, {row: entry for row, entry in wrong.items() if row not in completed}

    def sample(
        self,
        n: int,
        context: Context = None,
        *,
        where: Mapping[Any, Any] | None = None,
        seed: int | None = None,
        **options: Any,
    ) -> Tensor:
        """Return `n` rows as a frame; given a frame of b rows, n for each of them, with the given columns.

        The rows of a conditional table are n times the b rows in their order. See `Flow.sample`.

        `where` fixes entries, {column: entry}, whatever was declared at training: rows are draws of p(row | these
        entries), by importance resampling of at least 8,192 draws of the flow, and five sweeps as of `impute`. A mean
        over n rows is off by some standard deviation * sqrt(1 / n + 1 / e), where e is the effective number of draws;
        a warning says so if e is below 20. Such rows take no options but `seed`.

        Raises ValueError for a column in `where` that is unknown or given, and an entry that its column cannot hold.
        """
        if where is not None and len(where):
            drawn = self._sample_where(n, context, where, seed, options)
        else:
            drawn = super().sample(n, context, seed=seed, **options)
        if not is_frame(context):
            return drawn
        rows = self._columns_like(context).frame(drawn.reshape(-1, drawn.shape[-1]))
        given = nw.from_native(context, eager_only=True)[np.tile(np.arange(len(context)), n).tolist()]
        given = nw.maybe_reset_index(given)
        return nw.concat([nw.from_native(rows, eager_only=True), given], how="horizontal").to_native()

    def _sample_where(self, n, context, where, seed, options):
        """Return `sample` with fixed entries: a frame without a context, codes (n, b, columns) with one of b rows."""
        n = whole_number(n, "sample's n", least=0)
        if options:
            raise ValueError(
                f"sample: got {next(iter(options))}= and where=, expected seed= alone beside where=."
            )
        fixed = fixed_codes(self, where)
        inputs.check_adapted(self)
        context = check_context(self, context)
        if context is None:
            return self.columns.frame(rows_with(self, n, fixed, None, seed))
        seeds = np.random.SeedSequence(entropy(self.sampler if seed is None else seed)).generate_state(
            len(context)
        )
        drawn = [rows_with(self, n, fixed, context[[row]], int(own)) for row, own in enumerate(seeds)]
        return np.stack(drawn, axis=1)

    def detector(
        self, calibration: Any, *, false_alarms: Between0And1 = 0.01, samples: Count = 8
    ) -> Detector:
        """Return a detector of unusual rows, calibrated on a frame of rows that were not trained on: see `Detector`."""
        return Detector(self, calibration, false_alarms=false_alarms, samples=samples)

    @checked
    def impute(
        self,
        x: Tensor,
        context: Context = None,
        *,
        sweeps: Count = 5,
        candidates: Candidates = 32,
        seed: int = 0,
    ) -> Any:
        """Return a frame with its missing entries drawn from p(missing entries | the others of the row).

        A missing entry is taken as one that was not recorded, whatever its value in the range of the data. Sentinels
        such as -999, single values farther from the numbers of their column than these are apart, are not drawn.

        Each of the `sweeps` draws the missing entries of a row one after another: `candidates` values, one of them the
        present one and the others as often as the data have them, are weighed by the flow's density of the row with
        each (iterated sampling-importance resampling within Gibbs; Andrieu, Lee & Vihola, 2018). This Markov chain
        leaves the conditional density as it is, and forgets where it began with more sweeps and candidates. So it does
        where `log_prob` is a bound: one draw of p is unbiased, and the present value keeps its draw (Andrieu & Roberts,
        2009). Different seeds give different draws, for multiple imputation.

        Raises ValueError for an entry that is there and cannot be, with its column and row.
        """
        rows, context = self.split(x, context)
        codes = self.columns.values(rows, gaps=True)
        absent, rng = np.isnan(codes), np.random.default_rng(seed)
        kinds = [getattr(kind, "recorded", kind) for kind in self.columns.types]
        for place, kind in enumerate(kinds):
            gone = absent[:, place]
            codes[gone, place] = kind.proposals((int(gone.sum()),), rng)
        seen = None if context is None else np.asarray(self.context_columns.values(context))
        noise = noise_of_rows(self, codes.shape, 0, inverse=False, seed=seed)
        sweep(
            self, kinds, codes, noise, absent, seen, sweeps=sweeps, candidates=candidates, seed=seed, rng=rng
        )
        drawn = self.columns.in_order(self._columns_like(x).frame(codes))
        filled = [
            _filled(series, drawn[place], absent[:, place])
            for place, series in enumerate(self.columns.in_order(rows))
            if absent[:, place].any()
        ]
        return nw.from_native(x, eager_only=True).with_columns(*filled).to_native()

    def log_prob_of_codes(self, codes: np.ndarray, context: Any, noise: np.ndarray | None) -> np.ndarray:
        """Return log_prob of rows of codes with their noise, float64; -inf for a row that overflows on its way."""

        def score(start, stop, piece):
            return run_without_gradients(self, self._log_density, *piece)

        codes, context = inputs.checked_and_embedded(self, codes, context)
        with self.lock:
            log_prob = in_batches(self, score, (codes, context, noise))
        return np.where(np.isnan(log_prob), -np.inf, log_prob).astype("float64")

    def _columns_like(self, frame):
        """Return the columns, whose frames are of the library of `frame`."""
        return replace(self.columns, library=Columns.of(frame).library)

    def split(self, x: Any, context: Any = None) -> tuple[Any, Any]:
        """Return (the table's columns, those it is conditioned on) of a frame that holds both; others as they are.

        Raises ValueError for a column in the frame and in the context, and for given columns that are nowhere.
        """
        known = None if self.context_columns is None else self.context_columns.names
        if not is_frame(x) or known is None:
            return x, context
        here = [name for name in x.columns if name in known]
        if context is not None:
            if here:
                raise ValueError(f"Flow: got column {here[0]!r} in x and in context=, expected it in one.")
            return x, context
        if gone := [name for name in known if name not in here]:
            raise ValueError(f"Flow: got no column {gone[0]!r}, expected all given columns, {list(known)}.")
        return x[[name for name in x.columns if name not in known]], x[list(known)]


def _filled(series, drawn, gone):
    """Return a column with its missing entries from `drawn`, and the others as they are.

    Words, and numbers of a type that cannot hold those of the data, are all from `drawn`, where they are the same.
    """
    if not (series.dtype.is_float() or series.dtype.is_temporal() or series.dtype == drawn.dtype):
        return drawn
    if series.dtype in (nw.Categorical, nw.Enum):
        return drawn
    present = nw.new_series("", ~gone, nw.Boolean(), backend=series.implementation)
    return series.zip_with(present, drawn.cast(series.dtype))
