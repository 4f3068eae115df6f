"""Scores of a flow: of all rows in a group of processes, and the means that training reports."""

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from flowkit import distributed
from flowkit.data.dataset import LazyImages
from flowkit.distributed.failed import failing_together
from flowkit.flow import inputs
from flowkit.flow.rows import in_bits, log_prob_of_rows, map_leaves
from flowkit.objectives import MaximumLikelihood, Objective

if TYPE_CHECKING:
    from flowkit.flow.flow import Flow


def score_in_a_group(flow: "Flow", x: Any, context: Any = None, samples: int = 1) -> tuple[str, np.ndarray]:
    """Return the name of a flow's score, see `score_name`, and the scores of all rows: float64 (batch,).

    All processes have `x`. Each reads and scores its part; all receive all rows.
    """
    x = inputs.as_array(flow, x)

    def score(x, context, first):
        return log_prob_of_rows(flow, x, context, None, 0, samples, first)

    with flow.lock:
        log_prob = shared(flow, score, x, context)
    name = score_name(flow)
    return name, in_bits(log_prob, x.shape) if name == "bits_per_dim" else -log_prob


def shared(flow, score, x, context):
    """Return `score(x, context, first)` of all rows of `x`, each process having computed its part, from row `first` on.

    A row's noise is that of its place among all, so the result is one process's.
    """
    with failing_together():  # a row may be refused, or its file be damaged
        rows = distributed.mine(np.arange(len(x)))
        # With fewer rows than processes, one row gives the shape of the result.
        asked = rows if len(rows) else np.arange(1)
        first, stop = int(asked[0]), int(asked[-1]) + 1
        part = x.taken(asked) if isinstance(x, LazyImages) else x[first:stop]
        context = map_leaves(lambda c: c[first:stop], context)
        part, context = inputs.checked_and_embedded(flow, part, context)
        return distributed.gather(score(part, context, first)[: len(rows)])


class MeanOfCounted(keras.metrics.Mean):
    """Keras's `Mean`, but NaN if nothing counted: Keras gives 0, which would be a good loss."""

    def result(self) -> Any:
        return self.total.value / self.count.value


def mean(losses: Any) -> Any:
    """Return the mean loss; 0 for an empty batch, as in Keras: NaN would reach all weights."""
    if losses.shape[0]:
        return ops.mean(losses)
    return ops.sum(losses) / ops.maximum(ops.cast(ops.shape(losses)[0], losses.dtype), 1)


def score_name(flow: "Flow") -> str:
    """Return the name of the metric that scores a flow's data: "bits_per_dim", "nll", or "loss" if they are equal.

    Rows without losses of layers have a loss that is -log_prob, so that `nll` would repeat it.
    """
    if flow.dequantize is not None:
        return "bits_per_dim"
    repeated = (
        len(flow.event_shape or ()) == 1 and is_likelihood(flow.objective) and not flow.has_other_losses
    )
    return "loss" if repeated else "nll"


def is_likelihood(objective: Objective) -> bool:
    """Return True if an objective is -log_prob, which `Flow.call` returns."""
    return type(objective).__call__ is MaximumLikelihood.__call__


def what_counts(flow: "Flow", values: Any, sample_weight: Any) -> tuple[Any, Any]:
    """Return which of the values (batch,) count in a mean, and with what weight."""
    # A training step that is not finite does not count if it is not taken (flowkit.training.guard).
    skips = getattr(getattr(flow, "optimizer", None), "skips_what_is_not_finite", False)
    counts = ops.isfinite(values) if skips and flow._in_training else ops.ones_like(values, dtype="bool")
    weight = ops.cast(counts, values.dtype)
    return counts, weight if sample_weight is None else weight * ops.cast(sample_weight, values.dtype)
