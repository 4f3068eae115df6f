"""A training step as one CUDA graph: its kernels are recorded once and launched together."""

import itertools
import os
import traceback

import keras
import torch
from keras import tree

from flowkit.backends.torch.capturable import check_capture
from flowkit.backends.torch.graphs import device, graph_class
from flowkit.backends.torch.optimizer import use_multi_tensor
from flowkit.backends.torch.rate import Rate
from flowkit.backends.torch.rehearsed import DrawsDiffer, Rehearsal
from flowkit.backends.torch.values import values

__all__ = ["captured", "check_capture"]

# Steps: what they make once, such as traces and workspaces, may not be made while a step is recorded.
WARM_UP = 3

# Of the lines that led to an error, those in here are none that a user can change.
_ENGINE = tuple(os.path.dirname(module.__file__) + os.sep for module in (torch, keras))


def captured(step, model):
    """`step(data)`, Keras's training step of `model`, which is recorded once a few batches of a kind have come.

    Values, logs and states are those of `step`. Batches of another kind, such as the smaller last one of an epoch, run
    eagerly.
    """
    return _Captured(step, model)


class _Captured:
    def __init__(self, step, model):
        self._step, self._model = step, model
        self._graphs = graph_class()
        self._warm = {}  # kinds of batches that are not recorded: their warm-ups since the last replay
        self._recorded = self._standing = None
        use_multi_tensor(model.optimizer)

    def __call__(self, data):
        if self._model.looked_up.weights is None:  # an epoch begins: weights may have been frozen, or moved
            self._begin()
        kind = _kind(data)
        if self._recorded is not None and self._recorded.kind == kind:
            self._warm.clear()
            return self._recorded.replay(data)
        warm = self._warm.setdefault(kind, _WarmUp())
        warm.steps += 1
        if warm.steps > WARM_UP:
            self._warm.clear()  # if it fails, the next steps are a warm-up again
            self.look()
            self._recorded = None  # its memory first
            self._recorded = self._record(kind, data, warm)
            return self._recorded.replay(data)
        if self._recorded is not None and warm.steps == 1:  # most likely the last batch of an epoch
            return self._step(data)
        warm.graph, warm.rehearsal = warm.graph or self._graphs(), Rehearsal()
        with warm.graph.beside(), warm.rehearsal.noting():
            return self._step(data)

    def look(self):
        """Report what replays have kept on the device, which the host waits for."""
        if self._recorded is not None:
            self._recorded.rehearsal.look()

    def _begin(self):
        self.look()
        self._model.looked_up.of(self._model)
        standing = _Standing(self._model)
        if self._standing != standing:
            self._standing, self._recorded = standing, None
            self._warm.clear()

    def _record(self, kind, data, warm):
        # The weights that were made in the first step of all are known now.
        self._standing = _Standing(self._model)
        places = tree.map_structure(_place, data)
        rate = Rate(self._model.optimizer)
        try:
            with warm.rehearsal.standing_in(), rate.standing_in(), warm.graph.recording():
                logs = self._step(places)
        except DrawsDiffer:
            raise
        except RuntimeError as error:
            # A recording that was broken ends with an error of its own.
            first = error.__context__ if isinstance(error.__context__, RuntimeError) else error
            raise RuntimeError(_why_not(first)) from error
        return _Recorded(kind, places, logs, warm.rehearsal, rate, warm.graph)


class _WarmUp:
    """Of one kind of batches: how many have come, the graph to come, and what their last step drew."""

    def __init__(self):
        self.steps, self.graph, self.rehearsal = 0, None, None


def _why_not(error):
    """What a user is told of the first error of a recording."""
    if isinstance(error, torch.OutOfMemoryError):
        return (
            "cuda_graph=True expects room for a second training step, whose memory stays with the graph, received a "
            "device that has none left. Take smaller batches, or leave cuda_graph out."
        )
    lines = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    file, line = next((place for place in reversed(lines) if not place[0].startswith(_ENGINE)), lines[-1])
    said = str(error).partition("\n")[0].rstrip(".")
    return (
        "cuda_graph=True expects training steps in which the host neither waits for the device nor uploads to it, "
        f"received one that cannot be recorded: {said}, at {file}:{line}. Leave cuda_graph out."
    )


class _Recorded:
    """A recorded step and the places that it reads."""

    def __init__(self, kind, places, logs, rehearsal, rate, graph):
        self.kind, self.rehearsal = kind, rehearsal
        self._places, self._logs, self._rate, self._graph = tree.flatten(places), logs, rate, graph

    def replay(self, data):
        for place, leaf in zip(self._places, tree.flatten(data), strict=True):
            if place is not None:
                place.copy_(_lifted(leaf, place.device), non_blocking=True)
        self._rate.refresh()
        self.rehearsal.draw()
        self._graph.replay()
        # The next replay writes over them, and whoever reads logs may be late.
        return tree.map_structure(lambda log: log.clone() if torch.is_tensor(log) else log, self._logs)


class _Standing:
    """Which tensors a step reads and writes. They are held, so that their memory is nobody else's."""

    def __init__(self, model):
        self._optimizer = model.optimizer
        self._trained = [id(weight) for weight in model.looked_up.of(model)]
        tensors = values(list(itertools.chain(model.variables, model.optimizer.variables)))
        self._tensors = [(tensor, tensor.untyped_storage(), tensor.storage_offset()) for tensor in tensors]

    def __eq__(self, other):
        return (
            isinstance(other, _Standing)
            and self._optimizer is other._optimizer
            and self._trained == other._trained
            and len(self._tensors) == len(other._tensors)
            and all(itertools.starmap(_same, zip(self._tensors, other._tensors, strict=True)))
        )

    __hash__ = None


def _same(one, other):
    (tensor, storage, start), (again, held, begin) = one, other
    return tensor is again and storage._cdata == held._cdata and start == begin


def _kind(data):
    """What a batch has in common with others that one recording serves: its nest, shapes and types, as a key."""
    return repr(
        tree.map_structure(
            lambda leaf: (
                None if leaf is None else (tuple(leaf.shape), str(leaf.dtype).removeprefix("torch."))
            ),
            data,
        )
    )


def _place(leaf):
    return None if leaf is None else torch.empty_like(torch.as_tensor(leaf), device=device())


def _lifted(leaf, device):
    """`leaf` as a tensor, in memory from which a GPU can fetch it by itself.

    Torch keeps such memory, and does not give it out again before the device has fetched what is there.
    """
    leaf = torch.as_tensor(leaf)
    return leaf.pin_memory() if device.type == "cuda" and leaf.is_cpu else leaf
