"""Deviations of other implementations as weights of the published model: the same functions, exactly.

Kernels come as torch keeps them, (out, in, h, w), and leave as (h, w, in, out). The published ones of
3x3 have one more input channel, the edge, which is 1 on the ring that pads the image:

- zeros around the image, and no edge: the edge's kernel is 0;
- every channel padded with ones: the edge's kernel is the sum of the kernel over its input channels.
"""

import numpy as np


def kernel(weight):
    """(out, in, h, w) -> (h, w, in, out), in float64, in which all folding is done."""
    return np.transpose(np.asarray(weight, "float64"), (2, 3, 1, 0))


def zero_padded(kernel):
    """The published kernel of a convolution that pads with zeros."""
    return np.concatenate([kernel, np.zeros_like(kernel[:, :, :1])], axis=2)


def one_padded(kernel):
    """The published kernel of a convolution that pads every channel with ones."""
    return np.concatenate([kernel, kernel.sum(axis=2, keepdims=True)], axis=2)


def interleaving(first, second):
    """The order of channels that interleaves two blocks of them: first[0], second[0], first[1], ..."""
    return np.stack([first, second], axis=1).ravel()


def conv(name, kernel, bias, logs=None):
    """The published variables of a convolution followed by an actnorm: (conv + bias) exp(3 logs)."""
    logs = np.zeros(kernel.shape[-1]) if logs is None else logs
    return {
        f"{name}/W": kernel,
        f"{name}/actnorm_center/b": bias.reshape(1, 1, 1, -1),
        f"{name}/actnorm_scale/logs": logs.reshape(1, 1, 1, -1),
    }


def conv_zeros(name, kernel, bias, logs=None):
    """The published variables of the convolution that starts at zero: (conv + bias) exp(3 logs)."""
    logs = np.zeros(kernel.shape[-1]) if logs is None else logs
    return {
        f"{name}/W": kernel,
        f"{name}/b": bias.reshape(1, 1, 1, -1),
        f"{name}/logs": logs.reshape(1, -1),
    }


def plu_matrix(p, lower, upper, sign, log_s):
    """P (L + I) (U + diag(sign exp(log_s))), whatever L and U hold on the other side."""
    p, lower, upper = (np.asarray(part, "float64") for part in (p, lower, upper))
    diagonal = np.diag(np.asarray(sign, "float64") * np.exp(np.asarray(log_s, "float64")))
    return p @ (np.tril(lower, -1) + np.eye(len(p))) @ (np.triu(upper, 1) + diagonal)
