"""What changes the weights of a flow: `adapt` and `fit`; and Keras's other loops over data."""

from typing import Any, Self

from flowkit.contract.adaptation import is_adapted
from flowkit.data.batch_order import Batches
from flowkit.engines import engine
from flowkit.flow.adapting import adapt_dequantizer, adapt_parts
from flowkit.flow.before_training import check_training, refuse_class_weight, with_first
from flowkit.flow.context import refuse_unread
from flowkit.flow.in_a_group import check_same, rows_of_all, together
from flowkit.flow.inputs import ready_on, to_fit_on, to_score_on, to_validate_on, unpack
from flowkit.flow.noise import counted_for
from flowkit.flow.on_batch import OnBatch
from flowkit.flow.tables import chosen_rows, learned_columns, refuse_whole, to_adapt_to
from flowkit.flow.turns import alone
from flowkit.flow.without_data import adapt_to_draws, to_fit_without_data


class Fitting(OnBatch):
    """The part of `flowkit.Flow` that fits weights to data, and scores by Keras's loops."""

    @alone
    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        *,
        context: Any = None,
        validation_data: Any = None,
        sample_weight: Any = None,
        class_weight: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Keras's `fit`, with `context=` for arrays; adapts to the first batch if that is not done yet.

        `x` is an array or any dataset that Keras takes; a dataset with context yields
        `({"x": ..., "context": ...},)`. `y`, the labels of `fit(images, labels)`, is another name for the
        context, ignored by a flow that takes none; `context=` is then a ContractError. `validation_data` is x, or
        (x, context), or (x, context, sample_weight). Of data sets the first batch is checked, as arrays are. A
        `Standardize` adapts to up to 10,000 rows: a fixed draw of those of an array, or as many batches of a data set
        that can be read twice.

        If the objective needs no data, none is given: `fit(steps_per_epoch=1000, batch_size=256)`. Rows of a
        `context` are dealt out in batches, all of them before one comes again.

        In a group of processes (`flowkit.distributed`) all of them call it, each with as many rows of its own;
        gradients are averaged, and what is reported is of all rows.
        """
        refuse_class_weight("fit", class_weight)
        check_training(self)
        if isinstance(x, dict):
            x, context = unpack(x)
        refuse_unread(self, context)
        with learned_columns(self, x, y if context is None else context) as x:
            if self.objective.needs_data:
                if isinstance(x, Batches):
                    kwargs["shuffle"] = False  # its own order is what can be resumed
                    kwargs["callbacks"] = with_first(x.for_fit(), kwargs.get("callbacks"))
                refuse_whole(self, x)
                split = kwargs.get("validation_split", 0.0)
                first, x, y = to_fit_on(self, x, y, context, sample_weight, batch_size, split)
            else:
                given = {"x": x, "y": y, "sample_weight": sample_weight}
                first, x, changed = to_fit_without_data(self, given, context, batch_size, kwargs)
                batch_size, kwargs = None, kwargs | changed
            if validation_data is not None:
                size = kwargs.get("validation_batch_size") or batch_size
                validation_data = to_validate_on(self, validation_data, size)
            check_same(x, first[0], batch_size, epochs, {**kwargs, "validation_data": validation_data})
            if not self.built or not is_adapted(self):
                share = 1.0 - kwargs.get("validation_split", 0.0)
                self._adapt_to(*to_adapt_to(self, x, first, share), again=False)
        with together(self):
            try:
                return super().fit(
                    x,
                    y,
                    batch_size,
                    epochs,
                    validation_data=validation_data,
                    sample_weight=sample_weight,
                    **kwargs,
                )
            finally:
                engine.after_fit(self)

    @alone
    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        *,
        context: Any = None,
        sample_weight: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Keras's `evaluate`, with `context=` for arrays; `x` and `y` are those of `fit`.

        In a group of processes all of them call it, each with as many rows of its own. Raises ContractError for a flow
        that still waits for `adapt`.
        """
        if not kwargs.get("_use_cached_eval_dataset"):  # with which `fit` comes, whose data are checked
            x, y = to_score_on(self, x, y, context, sample_weight)
            x = ready_on(self, x, batch_size)
            check_same(x, None, batch_size, 1, kwargs)
        with self._scoring_all():
            return super().evaluate(x, y, batch_size, sample_weight=sample_weight, **kwargs)

    @alone
    def predict(self, x: Any, batch_size: int | None = None, *args: Any, **kwargs: Any) -> Any:
        """Keras's `predict`: log_prob of data, or of a data set. `log_prob` draws its noise by the seed."""
        return super().predict(ready_on(self, x, batch_size), batch_size, *args, **kwargs)

    # Data-dependent initialisation

    @alone
    def adapt(self, x: Any = None, context: Any = None, *, again: bool = True) -> Self:
        """Set what depends on data (each ActNorm's statistics) from the batch `x`. Returns `self`.

        The embedding adapts to the context, the bijector to the data, the base to their latents. `fit` does it
        with its first batch, for parts that still need it (`again=False`); a larger one gives better statistics (256).
        Without `x` it is draws of the flow that are normalised, in the direction of sampling: those of an ActNorm
        nearest to the data leave with mean 0 and variance 1. In a group of processes each gives rows of its own, and
        the statistics are those of the rows of all.
        """
        with learned_columns(self, x, context) as x:
            refuse_whole(self, x)
            self._adapt_to(x, context, again=again)
        return self

    def _adapt_to(self, x, context, *, again):
        if x is None:
            adapt_to_draws(self, context, again)
            return
        x, context = rows_of_all(*chosen_rows(self, *self._check(x, context)))
        self._build_on(x, context)
        y = adapt_dequantizer(self, x, again)
        with engine.no_grad():
            adapt_parts(self, y, context, again, counted_for(self, y.shape, 0, inverse=False))
