"""What a coupling does to its numbers, on engines that compile what surrounds it, or on which nothing is gained."""

import keras


def concatenate(tensors):
    """Tensors side by side on the last axis."""
    return keras.ops.concatenate(tensors, axis=-1)


def cut(x, at):
    """(x[..., :at], x[..., at:])."""
    return x[..., :at], x[..., at:]


def cut_rows(x, sizes):
    """`x` cut along the axis before the last, into parts of these sizes."""
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return tuple(x[..., start : start + size, :] for start, size in zip(starts, sizes, strict=True))


def reaches(x, edges):
    """1.0 where x >= edge, 0.0 elsewhere and for NaN; without gradients."""
    return keras.ops.cast(x >= edges, x.dtype)


def log_sigmoid_and_sigmoid(x):
    """(log sigmoid x, sigmoid x) for each entry, each by itself."""
    return keras.ops.log_sigmoid(x), keras.ops.sigmoid(x)


def bounded_and_exp(x, bound):
    """(b tanh(x / b), its exponential) for each entry."""
    # Of the sigmoid, since it is exact in float64 on JAX too.
    bounded = 2 * bound * keras.ops.sigmoid(2 / bound * x) - bound
    return bounded, keras.ops.exp(bounded)


def row_sums(x):
    """Sums over all axes but the first: one number for each sample."""
    return keras.ops.sum(x, axis=tuple(range(1, len(x.shape))))


def reshape(x, shape):
    """`x` in another shape."""
    return keras.ops.reshape(x, shape)


def transpose(x, axes):
    """`x` with its axes in another order."""
    return keras.ops.transpose(x, axes)


def unbind(h):
    """Tensors h[..., i, :] for each i: what stands on the axis before the last."""
    return tuple(h[..., i, :] for i in range(h.shape[-2]))


def unstack(x):
    """The rows of `x` along its first axis."""
    return keras.ops.unstack(x)


def add_up(log_dets):
    """The sum of log-dets, each a number, a scalar or (batch,)."""
    return sum(log_dets, 0.0)
