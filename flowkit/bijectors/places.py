"""The places of an event, at each of which the same is done to the channels."""

import math

from keras import ops


def places(x):
    """How many places an event of `x` has: the product of its axes but the channels."""
    return math.prod(x.shape[1:-1])


def channel_log_det(log_scale, x):
    """sum over an event of a log-scale for each channel: every place of the event counts once."""
    return places(x) * ops.sum(log_scale)
