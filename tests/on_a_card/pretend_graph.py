"""A graph of kernels of the pretended card, as strict with a step as a CUDA graph is.

While it records, kernels do not run: what they change that was there before is put back. (They are run once, so that
torch knows what shapes come out.) An upload, or an answer that the host waits for, is refused by `pretend_card`. A
replay runs them again in order, on the tensors that they had then. Between two replays the memory of a graph is
anybody's: all that its kernels had made is overwritten with NaN, so that nobody reads what a replay has not made again.
"""

import contextlib
import threading

import torch
from torch.utils import _pytree as trees

_recording = None


def recording():
    """The graph that records in this thread, or for which the backward pass runs in it."""
    if _recording is None:
        return None
    thread = threading.current_thread()
    # Keras reads logs in a thread of Python's; autograd's threads are not.
    ours = thread.ident == _recording.thread or isinstance(thread, threading._DummyThread)
    return _recording if ours else None


class PretendGraph:
    made = 0  # how many there have been
    replays = 0  # of all of them

    def __init__(self):
        PretendGraph.made += 1
        self.kernels = []  # (function, args, kwargs, tensors that came out)
        self.own = {}  # storages that were made while it recorded
        self.before = {}  # storages that were there before, and were changed: what they held

    @contextlib.contextmanager
    def beside(self):
        yield

    @contextlib.contextmanager
    def recording(self):
        global _recording
        self.thread = threading.get_ident()
        _recording = self
        try:
            yield
        finally:
            _recording = None
            for storage, held in self.before.values():
                storage.copy_(held)

    def run(self, function, args, kwargs):
        """`function` once, noted."""
        for tensor in _changed(function, args, kwargs):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in self.own and storage.data_ptr() not in self.before:
                self.before[storage.data_ptr()] = storage, storage.clone()
        known = {t.untyped_storage().data_ptr() for t in _tensors((args, kwargs))}
        answer = function(*args, **kwargs)
        out = _tensors(answer)
        for tensor in out:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in known:
                self.own[storage.data_ptr()] = tensor
        self.kernels.append((function, args, kwargs, out))
        return answer

    def replay(self):
        PretendGraph.replays += 1
        for tensor in self.own.values():
            whole = tensor.new_empty(0).set_(tensor.untyped_storage())
            whole.fill_(float("nan") if whole.is_floating_point() else 1)
        for function, args, kwargs, out in self.kernels:
            if function.is_view:
                continue
            for place, tensor in zip(out, _tensors(function(*args, **kwargs)), strict=True):
                if place.data_ptr() != tensor.data_ptr():
                    place.copy_(tensor)


def _tensors(tree):
    return [leaf for leaf in trees.tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def _changed(function, args, kwargs):
    """The tensors that `function` writes into."""
    written = []
    for place, argument in enumerate(function._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            given = args[place] if place < len(args) else kwargs.get(argument.name)
            written += _tensors([given])
    return written
