"""Dense layers, on engines that compile what surrounds them, or on which nothing is gained."""

import keras
import numpy as np


def dense(x, kernel, bias, place=None):
    """x W + b on the last axis; computed in `place`, which may be had of `Rows`, if there is one."""
    return keras.ops.matmul(x, kernel) + bias


def dealt_dense(x, kernel, bias, parameters):
    """x W + b as (batch, *places, parameters, channels), W with the parameters of one channel side by side.

    The weights are put in order, of which there are fewer than answers wherever a batch has more rows than the kernel:
    answers that are interleaved in memory cost couplings on tables a fifth of a training step.
    """
    channels = bias.shape[0] // parameters
    # By indices: of a transposed matrix XLA lays out the product as it would have been without.
    order = np.arange(bias.shape[0]).reshape(channels, parameters).T.reshape(-1)
    h = dense(x, keras.ops.take(kernel, order, axis=-1), keras.ops.take(bias, order))
    return keras.ops.reshape(h, (-1, *x.shape[1:-1], parameters, channels))
