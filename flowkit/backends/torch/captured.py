"""A training step as one CUDA graph: its kernels are recorded once and launched together."""

import itertools

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
        # Of the last batch, and how many of that kind came one after another.
        self._kind, self._seen = None, 0
        self._recorded = self._standing = self._graph = self._rehearsal = None
        use_multi_tensor(model.optimizer)

    def __call__(self, data):
        if self._model.looked_up.weights is None:  # an epoch begins: weights may have been frozen, or moved
            self._begin()
        kind = _kind(data)
        if self._recorded is not None and self._recorded.kind == kind:
            self._kind = None
            return self._recorded.replay(data)
        self._kind, self._seen = kind, self._seen + 1 if kind == self._kind else 1
        if self._seen <= WARM_UP:
            return self._eagerly(data)
        self._recorded = None  # its memory first
        self._recorded = self._record(kind, data)
        return self._recorded.replay(data)

    def look(self):
        """Report what replays have kept on the device, which the host waits for."""
        if self._recorded is not None:
            self._recorded.rehearsal.look()

    def _begin(self):
        self.look()
        self._model.looked_up.of(self._model)
        standing = _Standing(self._model)
        if self._standing != standing:
            self._standing, self._recorded, self._kind = standing, None, None

    def _eagerly(self, data):
        if self._recorded is not None and self._seen == 1:  # most likely the last batch of an epoch
            return self._step(data)
        self._graph, self._rehearsal = self._graph or self._graphs(), Rehearsal()
        with self._graph.beside(), self._rehearsal.noting():
            return self._step(data)

    def _record(self, kind, data):
        # The weights that were made in the first step of all are known now.
        self._standing = _Standing(self._model)
        places = tree.map_structure(_place, data)
        rehearsal, graph, rate = self._rehearsal, self._graph, Rate(self._model.optimizer)
        self._rehearsal = self._graph = self._kind = None  # if it fails, the next steps are a warm-up again
        try:
            with rehearsal.standing_in(), rate.standing_in(), graph.recording():
                logs = self._step(places)
        except DrawsDiffer:
            raise
        except RuntimeError as error:
            # A recording that was broken ends with an error of its own.
            first = error.__context__ if isinstance(error.__context__, RuntimeError) else error
            raise RuntimeError(
                "cuda_graph=True expects training steps in which the host neither waits for the device nor uploads to "
                f"it, received one that cannot be recorded ({first}). Leave cuda_graph out."
            ) from error
        return _Recorded(kind, places, logs, rehearsal, rate, graph)


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
    return tree.map_structure(
        lambda leaf: None if leaf is None else (tuple(leaf.shape), str(leaf.dtype).removeprefix("torch.")),
        data,
    )


def _place(leaf):
    return None if leaf is None else torch.empty_like(torch.as_tensor(leaf), device=device())


def _lifted(leaf, device):
    """`leaf` as a tensor, in memory from which a GPU can fetch it by itself."""
    leaf = torch.as_tensor(leaf)
    return leaf.pin_memory() if device.type == "cuda" and leaf.is_cpu else leaf
