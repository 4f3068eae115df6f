"""A group of processes that train one model on PyTorch: `torch.distributed`, one process for each device."""

import contextlib
import datetime
import functools
import os
import sys
import threading
import time

import torch

from flowkit.engines.base import Engine

# Between the seeds of two processes, of which Keras takes 32 bits: far from all multiples.
_APART = 0x9E3779B9
_PAUSE = 2.0  # seconds between two heartbeats
_SILENCE = 15.0  # seconds without one after which a process counts as lost; torchrun needs 37 more to end all
_GRACE = 5.0  # seconds in which the main thread may notice by itself that another process has ended
_leaving = threading.Event()
_heart = None  # the thread that exchanges heartbeats


class TorchGroup(Engine):
    """Groups of processes on PyTorch, by `torch.distributed`: one process per device."""

    def join(self, address, count, rank, local_rank, seconds):
        global _heart
        timeout = datetime.timedelta(seconds=seconds)
        place = "env://" if address is None else f"tcp://{address}?rank={rank}&world_size={count}"
        store = _met(place, timeout)
        store.set_timeout(timeout)
        # torchrun keeps the store when it starts all processes again.
        store = torch.distributed.PrefixStore(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), store)
        kinds = "gloo"
        if torch.cuda.is_available():
            torch.cuda.set_device((local_rank or 0) % torch.cuda.device_count())
            kinds = "cpu:gloo,cuda:nccl"
        torch.distributed.init_process_group(kinds, store=store, rank=rank, world_size=count, timeout=timeout)
        silence = datetime.timedelta(seconds=_SILENCE)
        beats = torch.distributed.new_group(backend="gloo", timeout=silence)
        _leaving.clear()
        _heart = threading.Thread(target=_beat, args=(beats, count), name="flowkit heartbeats", daemon=True)
        _heart.start()

    def leave(self):
        if self.processes() > 1:
            _leaving.set()
            _heart.join()
            torch.distributed.destroy_process_group()

    def processes(self):
        distributed = torch.distributed
        return (
            distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1
        )

    def process_rank(self):
        return torch.distributed.get_rank() if self.processes() > 1 else 0

    def exchange(self, data):
        if self.processes() == 1:
            return [data]
        sizes = _gathered(torch.tensor([len(data)]))
        longest = int(max(sizes))
        padded = torch.zeros(longest, dtype=torch.uint8)
        if data:
            padded[: len(data)] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        parts = _gathered(padded) if longest else [padded] * len(sizes)
        return [part[: int(size)].numpy().tobytes() for part, size in zip(parts, sizes, strict=True)]

    def average_gradients(self, optimizer):
        # A partial, not a closure: a copy of the optimizer gets its own.
        optimizer.apply = functools.partial(_apply_averages, optimizer)

    @torch.no_grad()
    def copy_from_main(self, variables):
        if self.processes() == 1:
            return
        for variable in variables:
            # As bytes: gloo does not know all types.
            value = variable.value.detach().contiguous()
            data = value.reshape(-1).view(torch.uint8).clone()
            torch.distributed.broadcast(data, 0)
            variable.value.copy_(data.view(value.dtype).reshape(value.shape))

    def summed(self, tensors):
        return list(tensors) if self.processes() == 1 else _summed(tensors)

    @torch.no_grad()
    def left_to_main(self, variables):
        if self.process_rank():
            for variable in variables:
                variable.value.zero_()

    @contextlib.contextmanager
    def drawing_apart(self, states):
        seeds = [state.value.reshape(-1, 2)[:, 0] for state in states]  # a Repeat has a row for each copy
        shift = self.process_rank() * _APART
        for seed in seeds:
            seed += shift
        try:
            yield
        finally:
            for seed in seeds:
                seed -= shift


def _met(place, timeout):
    """Return the store of the group. Raises RuntimeError if `place` does not answer in time.

    PyTorch itself waits on a program of another kind that takes the connection and says nothing.
    """
    found = []

    def meet():
        try:
            found.append(next(torch.distributed.rendezvous(place, timeout=timeout))[0])
        except Exception as error:  # which the caller raises
            found.append(error)

    thread = threading.Thread(target=meet, name="flowkit rendezvous", daemon=True)
    thread.start()
    thread.join(timeout.total_seconds() + _PAUSE)
    if not found:
        raise RuntimeError(
            f"flowkit.distributed.start: got no answer from {place} within {timeout.total_seconds():.3g} s, expected "
            "process 0 there. Choose a port that no other program uses."
        )
    if isinstance(found[0], Exception):
        raise found[0]
    return found[0]


def _beat(beats, count):
    """Exchange a number with all processes every few seconds until all leave; end this one if another is silent.

    Steps wait longer, as long as another process has work of its own to do.
    """
    leaving = 0
    try:
        while leaving < count:
            _leaving.wait(_PAUSE)
            flag = torch.tensor(int(_leaving.is_set()))
            torch.distributed.all_reduce(flag, group=beats)
            leaving = int(flag)
    except RuntimeError:
        time.sleep(_GRACE)  # the main thread ends by itself if it waits for that process too
        print(
            "flowkit: another process of the group does not answer, so this one ends.",
            file=sys.stderr,
            flush=True,
        )
        os._exit(1)


@torch.no_grad()
def _summed(tensors):
    tensors = list(tensors)
    total = list(tensors)
    # All of a type in one message: each message has its delay.
    for dtype in dict.fromkeys(tensor.dtype for tensor in tensors if tensor is not None):
        places = [i for i, tensor in enumerate(tensors) if tensor is not None and tensor.dtype == dtype]
        flat = torch.cat([tensors[i].reshape(-1) for i in places])
        torch.distributed.all_reduce(flat)
        pieces = flat.split([tensors[i].numel() for i in places])
        for i, piece in zip(places, pieces, strict=True):
            total[i] = piece.view(tensors[i].shape)
    return total


@torch.no_grad()
def _apply_averages(optimizer, grads, *weights):
    """Apply gradients averaged over the processes. A NaN in one process is a NaN in all, and all skip the step."""
    count = torch.distributed.get_world_size()
    grads = [None if grad is None else grad / count for grad in _summed(grads)]
    type(optimizer).apply(optimizer, grads, *weights)


def _gathered(tensor):
    given = [torch.empty_like(tensor) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(given, tensor)
    return given
