"""The convolutions of the conditioners, and their activations."""

import keras
import tensorflow as tf

from flowkit.backends.any.convolution import rectify, scaled_kernel

__all__ = ["convolve", "convolve_in_turn", "rectify", "scaled_kernel"]


def convolve(x, kernel, bias):
    """`x` (batch, h, w, c) with an odd `kernel`, from `scaled_kernel`, plus `bias`: stride 1, zeros around, same size.

    `bias` is (features,), or a map (1, h, w, features).
    """
    if kernel.shape[0] == 1:
        return keras.ops.matmul(x, kernel[0, 0]) + bias
    y = keras.ops.conv(x, kernel, padding="same", data_format="channels_last")
    # oneDNN gives an empty batch the channels of its input.
    return tf.reshape(y, (-1, *x.shape[1:-1], kernel.shape[-1])) + bias


def convolve_in_turn(x, layers):
    """`x` through several `convolve`, with max(., 0) between; `layers` are their (kernel, bias)."""
    for kernel, bias in layers[:-1]:
        x = rectify(convolve(x, kernel, bias))
    return convolve(x, *layers[-1])
