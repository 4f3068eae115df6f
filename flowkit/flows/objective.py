"""What training minimises, the negative log-likelihood: what may not be given in its place, and what counts in it."""

from keras import ops

# What Keras's `compile` takes for models whose loss compares predictions with targets.
_OF_TARGETS = ("loss", "loss_weights", "metrics", "weighted_metrics")


def refuse_other_losses(flow, given):
    """Raise ValueError if `given`, the keywords of `compile`, name a loss or a metric."""
    for name in _OF_TARGETS:
        if given.get(name) is not None:
            raise ValueError(
                f"{type(flow).__name__}.compile expects no {name}=, received {given[name]!r}: a flow trains on its "
                f"negative log-likelihood, and reports nll and bits_per_dim. Leave {name} out."
            )


def without_other_losses(config):
    """A stored `compile` without what `refuse_other_losses` refuses: it was ignored when it was not refused yet."""
    return {key: value for key, value in config.items() if key not in _OF_TARGETS}


def what_counts(flow, values, sample_weight):
    """Which of the values (batch,) count in a mean, and with what weight."""
    # A training step that is not finite does not count where it is not taken (flowkit.training.guard).
    skips = getattr(getattr(flow, "optimizer", None), "skips_what_is_not_finite", False)
    counts = ops.isfinite(values) if skips and not flow._scoring else ops.ones_like(values, dtype="bool")
    weight = ops.cast(counts, values.dtype)
    return counts, weight if sample_weight is None else weight * ops.cast(sample_weight, values.dtype)
