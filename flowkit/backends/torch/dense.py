"""Dense layers in one call of PyTorch: `keras.ops` spends more on finding out what it was given."""

import torch


def dense(x, kernel, bias, place=None):
    """x W + b on the last axis; computed in `place`, which may be had of `Rows`, if there is one."""
    if x.ndim == 2 and x.dtype == kernel.dtype == bias.dtype:
        return torch.addmm(bias, x, kernel, out=place)
    return torch.matmul(x, kernel) + bias


def dealt_dense(x, kernel, bias, parameters):
    """x W + b as (batch, *places, parameters, channels), W with the parameters of one channel side by side.

    The weights are put in order, of which there are fewer than answers wherever a batch has more rows than the kernel:
    answers that are interleaved in memory cost couplings on tables a fifth of a training step.
    """
    size = bias.shape[0]
    shape = size // parameters, parameters
    kernel = kernel.view(-1, *shape).transpose(1, 2).reshape(-1, size)
    bias = bias.view(shape).t().reshape(size)
    return dense(x, kernel, bias).view(*x.shape[:-1], parameters, shape[0])
