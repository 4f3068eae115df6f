"""The convolutions of the conditioners, and their activations."""

import keras


def convolve(x, kernel, bias):
    """`x` (batch, h, w, c) with an odd `kernel`, from `scaled_kernel`, plus `bias`: stride 1, zeros around, same size.

    `bias` is (features,), or a map (1, h, w, features).
    """
    if kernel.shape[0] == 1:
        return keras.ops.matmul(x, kernel[0, 0]) + bias
    return keras.ops.conv(x, kernel, padding="same", data_format="channels_last") + bias


def scaled_kernel(kernel, scale):
    """`kernel` (k, k, c, features) times `scale` (features,), as `convolve` takes it."""
    return kernel * scale[..., None, None, None, :]


def convolve_in_turn(x, layers):
    """`x` through several `convolve`, with max(., 0) between; `layers` are their (kernel, bias)."""
    for kernel, bias in layers[:-1]:
        x = rectify(convolve(x, kernel, bias))
    return convolve(x, *layers[-1])


def rectify(x):
    """max(x, 0), if nobody else reads `x`: in its place, if the engine can."""
    return keras.ops.relu(x)
