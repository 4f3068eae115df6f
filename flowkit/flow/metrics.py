"""The means that a flow reports in training."""

from typing import Any

import keras
from keras import ops

from flowkit.objectives import MaximumLikelihood, Objective


class MeanOfCounted(keras.metrics.Mean):
    """Keras's `Mean`, but NaN if nothing counted: Keras gives 0, which would be a good loss."""

    def result(self) -> Any:
        return self.total.value / self.count.value


def mean(losses: Any) -> Any:
    """Return the mean loss; 0 for an empty batch, as in Keras: NaN would reach all weights."""
    if losses.shape[0]:
        return ops.mean(losses)
    return ops.sum(losses) / ops.maximum(ops.cast(ops.shape(losses)[0], losses.dtype), 1)


def score_name(flow: Any) -> str:
    """Return the name of the metric that scores a flow's data: "bits_per_dim", "nll", or "loss" if they are equal.

    Rows without losses of layers have a loss that is -log_prob, so that `nll` would repeat it.
    """
    if flow.dequantize is not None:
        return "bits_per_dim"
    repeated = len(flow.event_shape) == 1 and is_likelihood(flow.objective) and not flow.has_other_losses
    return "loss" if repeated else "nll"


def is_likelihood(objective: Objective) -> bool:
    """Return True if an objective is -log_prob, which `Flow.call` returns."""
    return type(objective).__call__ is MaximumLikelihood.__call__


def what_counts(flow: Any, values: Any, sample_weight: Any) -> tuple[Any, Any]:
    """Return which of the values (batch,) count in a mean, and with what weight."""
    # A training step that is not finite does not count if it is not taken (flowkit.training.guard).
    skips = getattr(getattr(flow, "optimizer", None), "skips_what_is_not_finite", False)
    counts = ops.isfinite(values) if skips and flow._in_training else ops.ones_like(values, dtype="bool")
    weight = ops.cast(counts, values.dtype)
    return counts, weight if sample_weight is None else weight * ops.cast(sample_weight, values.dtype)
