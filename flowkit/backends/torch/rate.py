"""The learning rate of a recorded step, which reads it in one place."""

import contextlib

import keras
import torch

from flowkit.backends.torch.graphs import device


class Rate:
    """That of an optimizer, which is asked before each replay: schedules upload numbers, functions run on the host."""

    def __init__(self, optimizer):
        while hasattr(optimizer, "inner_optimizer"):
            optimizer = optimizer.inner_optimizer
        self._optimizer = optimizer
        self._place = torch.empty((), device=device())

    @contextlib.contextmanager
    def standing_in(self):
        """A scope in which the optimizer finds its rate in that place."""
        self._optimizer._get_current_learning_rate = lambda: self._place
        try:
            yield
        finally:
            del self._optimizer._get_current_learning_rate

    def refresh(self):
        """Before a replay: the rate of the step that comes."""
        self._place.copy_(self._now())

    @torch.no_grad()
    def _now(self):
        return keras.ops.convert_to_tensor(self._optimizer.learning_rate, "float32")
