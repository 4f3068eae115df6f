"""What a coupling does to its numbers, each in one call of PyTorch: `keras.ops` takes three times as long."""

import torch


def concatenate(tensors):
    """Tensors side by side on the last axis."""
    return torch.cat(tensors, -1)


def cut(x, at):
    """(x[..., :at], x[..., at:]).

    In one call, since the gradients of both are then put side by side; those of slices are padded with zeros and added.
    """
    return x.split_with_sizes([at, x.shape[-1] - at], -1)


def cut_rows(x, sizes):
    """`x` cut along the axis before the last, into parts of these sizes.

    In one call, as in `cut`.
    """
    return x.split_with_sizes(sizes, -2)


def reaches(x, edges):
    """1.0 where x >= edge, 0.0 elsewhere and for NaN; without gradients.

    Bools and their cast take eight times as long on CPU.
    """
    return (x.detach() - edges.detach()).ge_(0.0)


def log_sigmoid_and_sigmoid(x):
    """(log sigmoid x, sigmoid x) for each entry, each by itself."""
    return torch.nn.functional.logsigmoid(x), torch.sigmoid(x)


def bounded_and_exp(x, bound):
    """(b tanh(x / b), its exponential) for each entry."""
    bounded = torch.tanh(x / bound) * bound
    return bounded, torch.exp(bounded)


def row_sums(x):
    """Sums over all axes but the first: one number for each sample."""
    return torch.sum(x, tuple(range(1, x.ndim)))


def reshape(x, shape):
    """`x` in another shape."""
    return x.reshape(shape)


def transpose(x, axes):
    """`x` with its axes in another order."""
    return x.permute(axes)


def unbind(h):
    """Tensors h[..., i, :] for each i: what stands on the axis before the last."""
    return torch.unbind(h, -2)


def unstack(x):
    """The rows of `x` along its first axis."""
    return x.unbind(0)


def add_up(log_dets):
    """The sum of log-dets, each a number, a scalar or (batch,)."""
    if torch.compiler.is_exporting():  # shapes are no keys there
        return sum(log_dets, 0.0)
    kinds = {}
    for log_det in log_dets:
        kinds.setdefault(getattr(log_det, "shape", None), []).append(log_det)
    total = 0.0
    for shape, some in kinds.items():
        total = total + (sum(some) if shape is None or len(some) == 1 else torch.stack(some).sum(0))
    return total
