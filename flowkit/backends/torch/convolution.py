"""The convolutions of the conditioners, and their activations, in as few copies as PyTorch needs."""

import torch
from torch._C._functorch import maybe_current_level


def convolve(x, kernel, bias):
    """`x` (batch, h, w, c) with an odd `kernel`, from `scaled_kernel`, plus `bias`: stride 1, zeros around, same size.

    `bias` is (features,), or a map (1, h, w, features).

    By views of the channels-last memory, which `keras.ops.conv` copies on both ways. Also for a 1x1 kernel,
    where a matrix product was 1.3 to 2 times slower on CPU.
    """
    return _last(_convolve(_first(x), kernel, bias, _in_place()))


def convolve_in_turn(x, layers):
    """`x` through several `convolve`, with max(., 0) between; `layers` are their (kernel, bias).

    What comes out of a convolution is changed where it lies, also if gradients are recorded: no backward pass needs it.
    Of a view that was changed autograd would make copies; so all of them run with channels first, in one view.
    """
    in_place, x = _in_place(), _first(x)
    for kernel, bias in layers[:-1]:
        x = _convolve(x, kernel, bias, in_place)
        x = x.relu_() if in_place else torch.relu(x)
    return _last(_convolve(x, *layers[-1], in_place))


def _convolve(x, kernel, bias, in_place):
    flat, padding = bias.ndim == 1, kernel.shape[1] // 2
    y = torch.conv2d(x, _first(kernel), bias if flat else None, padding=padding)
    if flat:
        return y
    bias = _first(bias)
    return y.add_(bias) if in_place and y.dtype == bias.dtype else y + bias  # autocast has types differ


def _in_place():
    """Whether a tensor may be changed that nobody else reads. (`vmap` cannot do it to one that it does not see.)"""
    return not torch.compiler.is_compiling() and maybe_current_level() is None


def scaled_kernel(kernel, scale):
    """`kernel` (k, k, c, features) times `scale` (features,), as `convolve` takes it.

    Here that is (features, k, k, c): of another order a convolution makes a copy, each time, and gradients come in this
    one.
    """
    return kernel.movedim(-1, -4).contiguous() * scale[..., :, None, None, None]


def rectify(x):
    """max(x, 0), if nobody else reads `x`: in its place, if the engine can.

    Without gradients to record that spares a third of the time of Glow's networks on CPU, most of it page faults.
    """
    if x.ndim == 4 and torch.compiler.is_compiling():
        return _last(torch.relu(_first(x)))
    return torch.relu(x) if torch.is_grad_enabled() else x.relu_()


# Channels first and last, as views. Where there are convolutions the compiler takes all tensors of four axes for images
# with channels first, and reorders in memory what it keeps of others: three times the time of a coupling on CPU.


def _first(x):
    return x.permute(0, 3, 1, 2)


def _last(x):
    return x.permute(0, 2, 3, 1)
