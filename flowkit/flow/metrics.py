"""The running means that a flow reports."""

import math

import keras
from keras import ops

from flowkit.contract.shapes import event_size
from flowkit.flow.counting import what_counts


class MeanOfCounted(keras.metrics.Mean):
    """Keras's `Mean`, but NaN if nothing counted: Keras says 0, which of a loss would be a good one."""

    def result(self):
        return self.total.value / self.count.value


def report(flow, data, log_prob, sample_weight):
    """Add a batch to the means of `flow`: the same number in nats and in bits per dimension."""
    counts, weight = what_counts(flow, log_prob, sample_weight)
    nats = ops.where(counts, -log_prob, ops.zeros_like(log_prob))
    flow.nll.update_state(nats, weight)
    flow.bits.update_state(nats / (event_size(data.shape) * math.log(2)), weight)
