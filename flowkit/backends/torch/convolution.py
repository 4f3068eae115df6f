"""The convolutions of the conditioners, and their activations, in as few copies as PyTorch needs."""

import torch


def convolve(x, kernel, bias):
    """`x` (batch, h, w, c) with `kernel` (features, k, k, c), k odd, plus `bias`: stride 1, zeros around, same size.

    `kernel` comes from `scaled_kernel`. `bias` is (features,), or a map (1, h, w, features).

    By views of the channels-last memory, which `keras.ops.conv` copies on both ways. Also for a 1x1 kernel,
    where a matrix product was 1.3 to 2 times slower on CPU. A map is not added in place while gradients are recorded:
    of a view that was changed autograd copies them.
    """
    flat = bias if bias.ndim == 1 else None
    y = torch.conv2d(_first(x), _first(kernel), flat, padding=kernel.shape[1] // 2)
    if flat is not None:
        return _last(y)
    if torch.compiler.is_compiling():
        return _last(y + _first(bias))
    y = _last(y)
    in_place = not torch.is_grad_enabled() and y.dtype == bias.dtype  # autocast has them differ
    return y.add_(bias) if in_place else y + bias


def scaled_kernel(kernel, scale):
    """`kernel` (k, k, c, features) times `scale` (features,), as (features, k, k, c) in memory, as `convolve` takes it.

    Of any other order a convolution makes a copy, each time, and its gradients come in this one.
    """
    return kernel.permute(3, 0, 1, 2).contiguous() * scale[:, None, None, None]


def rectify(x):
    """max(x, 0), if nobody else reads `x`: in its place, if the engine can.

    Without gradients to record that spares a third of the time of Glow's networks on CPU, most of it page faults.
    """
    if torch.compiler.is_compiling() and x.ndim == 4:
        return _last(torch.relu(_first(x)))
    return torch.relu(x) if torch.is_grad_enabled() else x.relu_()


# Channels first and last, as views. Where there are convolutions the compiler takes all tensors of four axes for images
# with channels first, and reorders in memory what it keeps of others: three times the time of a coupling on CPU.


def _first(x):
    return x.permute(0, 3, 1, 2)


def _last(x):
    return x.permute(0, 2, 3, 1)
