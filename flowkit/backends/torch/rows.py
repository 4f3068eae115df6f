"""Rows of tensors that a loop reads and writes step by step: on PyTorch views, as many as there are."""

import itertools

import torch

from flowkit.backends.torch.recording import records_gradients


class Rows:
    """Rows along the first axis, of which the first `ends[k]` are there after step k, which counts from 0."""

    padding = 0

    def __init__(self, ends):
        self._ends = list(ends)
        self._counts = [end - start for start, end in itertools.pairwise([0, *self._ends])]

    def cut(self, x, columns=None):
        """`x` as `at` takes it; `columns`, the rows of another tensor, says which columns are of use: others are 0."""
        pieces = x.split(self._counts)
        if columns is None:
            return pieces
        return [piece[:, :end] for piece, end in zip(pieces, columns._ends, strict=True)]

    def at(self, cut, k):
        """The rows of step k."""
        return cut[k]

    def known(self, x, k):
        """What is there of `x` after step k; an engine may give more."""
        return x.narrow(0, 0, self._ends[k])

    def written(self, x, k, rows):
        """`x` with the `rows` of step k; in the type of `x`, which nobody else may read: it may be written into."""
        start, end = self._ends[k] - self._counts[k], self._ends[k]
        if torch.jit.is_tracing():  # for ONNX, which has no slice to scatter into
            return torch.cat([x[:start], rows.to(x.dtype), x[end:]])
        if records_gradients() or torch.compiler.is_compiling():
            return torch.slice_scatter(x, rows.to(x.dtype), 0, start, end)
        x.narrow(0, start, end - start).copy_(rows)
        return x
