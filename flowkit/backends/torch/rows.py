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

    def place(self, x, k):
        """Where the rows of step k are to be computed, for them to be `written` at once; None where nothing can be."""
        if records_gradients() or torch.compiler.is_compiling() or torch.jit.is_tracing():
            return None
        return x.narrow(0, self._ends[k] - self._counts[k], self._counts[k])

    def written(self, x, k, rows):
        """`x` with the `rows` of step k; in the type of `x`, which nobody else may read: it may be written into."""
        if rows._base is x:  # computed in their place
            return x
        place = self.place(x, k)
        if place is None:
            start, end = self._ends[k] - self._counts[k], self._ends[k]
            if torch.jit.is_tracing():  # for ONNX, which has no slice to scatter into
                return torch.cat([x[:start], rows.to(x.dtype), x[end:]])
            return torch.slice_scatter(x, rows.to(x.dtype), 0, start, end)
        place.copy_(rows)
        return x
