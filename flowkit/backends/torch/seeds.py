"""Seeds of random numbers, which PyTorch takes from the host."""

import weakref

import keras
import torch
from keras.src.backend.common.stateless_scope import in_stateless_scope

_KNOWN = weakref.WeakKeyDictionary()


def known_seeds(generator):
    """A `SeedGenerator` that gives what `generator` would, and moves it on; without waiting for a device if it can."""
    if isinstance(generator, _Known) or torch.compiler.is_compiling() or generator.state.value.is_cpu:
        return generator
    if generator not in _KNOWN:
        _KNOWN[generator] = _Known(generator)
    return _KNOWN[generator]


class _Known(keras.random.SeedGenerator):
    """One whose numbers the host knows as well as the device, from the second on.

    The device's are those that files and `Resume` keep. If anybody else has written there, they are read again.
    """

    def __init__(self, other):
        self.backend, self.state = other.backend, other.state  # Keras would make a state of its own
        self._initial_seed = other._initial_seed
        self._last = None, 0, ()  # the tensor, how often it had been written to, what it held

    def next(self, ordered=True):
        held = self.state.value
        if not ordered or held.is_meta or in_stateless_scope():
            return super().next(ordered)
        tensor, writes, numbers = self._last
        if tensor is not held or writes != held._version:
            numbers = held.detach().cpu().tolist()
        with torch.no_grad():
            held[1:].add_(1)
        self._last = held, held._version, (numbers[0], numbers[1] + 1)
        return numbers
