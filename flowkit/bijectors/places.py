"""The places of an event, at each of which the same is done to the channels."""

import math

from keras import ops


def places(shape):
    """How many places an event of a (batch, *event) shape has: the product of its axes but the channels."""
    return math.prod(shape[1:-1])


def channel_log_det(log_scale, shape):
    """sum over an event of a log-scale for each channel: every place of the event counts once."""
    return places(shape) * ops.sum(log_scale, axis=-1)
