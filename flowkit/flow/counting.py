"""What counts in the means that a flow reports, and in the one that it learns from."""

from keras import ops


def mean(losses):
    """Their mean; 0 of an empty batch, as in Keras, since NaN would be in all weights from then on."""
    if losses.shape[0]:
        return ops.mean(losses)
    return ops.sum(losses) / ops.maximum(ops.cast(ops.shape(losses)[0], losses.dtype), 1)


def what_counts(flow, values, sample_weight):
    """Which of the values (batch,) count in a mean, and with what weight."""
    # A training step that is not finite does not count if it is not taken (flowkit.training.guard).
    skips = getattr(getattr(flow, "optimizer", None), "skips_what_is_not_finite", False)
    counts = ops.isfinite(values) if skips and not flow._scoring else ops.ones_like(values, dtype="bool")
    weight = ops.cast(counts, values.dtype)
    return counts, weight if sample_weight is None else weight * ops.cast(sample_weight, values.dtype)
