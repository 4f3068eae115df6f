"""A group of processes that train one model on PyTorch: `torch.distributed`, one process for each device."""

import contextlib
import datetime
import os
import re
import sys
import threading
import time
import uuid

import numpy as np
import torch

_PAUSE = 2.0  # seconds between two heartbeats
_SILENCE = 40.0  # seconds without one after which a process counts as lost
_GRACE = 5.0  # seconds in which the main thread may notice by itself that another process has ended
_leaving = threading.Event()
_heart = None  # the thread that exchanges heartbeats


def join(address, count, rank, local_rank, seconds):
    """Join the group of `count` processes at `address` ("host:port"), and wait `seconds` for the others.

    `address` None lets torchrun's agent connect them. `local_rank` is the number among the processes of this host;
    None if this process has all devices of the host.
    """
    global _heart
    timeout = datetime.timedelta(seconds=seconds)
    place = "env://" if address is None else f"tcp://{address}?rank={rank}&world_size={count}"
    store, _, _ = next(torch.distributed.rendezvous(place, timeout=timeout))
    store.set_timeout(timeout)
    if address is None:
        store = _of_this_start(store, rank, count, seconds)
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


def _of_this_start(store, rank, count, seconds):
    """Return a part of torchrun's store without the entries of an earlier start.

    The store stays when torchrun starts all processes again. Each process asks with a new word, which only a process 0
    that lives can answer: with its own word, the prefix of this start.
    """
    own = uuid.uuid4().hex
    if rank:
        store.set(f"asks/{rank}", own)
        start = store.get(f"answer/{own}").decode()
        store.set(f"knows/{start}/{rank}", b"1")
        return torch.distributed.PrefixStore(start, store)
    others, end = set(range(1, count)), time.monotonic() + seconds
    while others:
        if time.monotonic() > end:
            raise RuntimeError(f"processes {sorted(others)} did not come")
        for other in others:
            if store.check([f"asks/{other}"]):
                store.set(f"answer/{store.get(f'asks/{other}').decode()}", own)
        others -= {other for other in others if store.check([f"knows/{own}/{other}"])}
        time.sleep(0.02)
    return torch.distributed.PrefixStore(own, store)


def _beat(beats, count):
    """Exchange a number with all processes every few seconds until all leave; end this one if another is silent.

    The group of its own has a short timeout. Steps wait as long as another process has work of its own to do.
    """
    leaving = 0
    try:
        while leaving < count:
            _leaving.wait(_PAUSE)
            flag = torch.tensor(int(_leaving.is_set()))
            torch.distributed.all_reduce(flag, group=beats)
            leaving = int(flag)
    except RuntimeError as error:
        time.sleep(_GRACE)  # the main thread ends by itself if it waits for that process too
        reason = (str(error).splitlines() or [""])[0].partition(". ")[0]
        print(
            f"flowkit: another process of the group has ended or does not answer, so process {process_rank()} of "
            f"{count} ends too: {reason}",
            file=sys.stderr,
            flush=True,
        )
        os._exit(1)


def leave():
    """Leave the group, as all processes do now."""
    if processes() > 1:
        _leaving.set()
        _heart.join()
        torch.distributed.destroy_process_group()


def processes():
    """Return the number of processes that have joined to train one model."""
    distributed = torch.distributed
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def process_rank():
    """Return the number of this process in its group, from 0."""
    return torch.distributed.get_rank() if processes() > 1 else 0


def exchange(data):
    """Return the bytes of each process, in the order of their ranks."""
    if processes() == 1:
        return [data]
    sizes = _gathered(torch.tensor([len(data)]))
    longest = int(max(sizes))
    padded = torch.zeros(longest, dtype=torch.uint8)
    if data:
        padded[: len(data)] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    parts = _gathered(padded) if longest else [padded] * len(sizes)
    return [part[: int(size)].numpy().tobytes() for part, size in zip(parts, sizes, strict=True)]


def _gathered(tensor):
    given = [torch.empty_like(tensor) for _ in range(processes())]
    torch.distributed.all_gather(given, tensor)
    return given


@torch.no_grad()
def copy_from_main(variables):
    """Set `variables` to their values in process 0, if each process has its own."""
    if processes() == 1:
        return
    for variable in variables:
        # As bytes: gloo does not know all types.
        value = variable.value.detach().contiguous()
        data = value.reshape(-1).view(torch.uint8).clone()
        torch.distributed.broadcast(data, 0)
        variable.value.copy_(data.view(value.dtype).reshape(value.shape))


@torch.no_grad()
def summed(tensors):
    """Return the tensors, summed over the processes unless a tensor is shared by all of them."""
    tensors = list(tensors)
    if processes() == 1:
        return tensors
    total = list(tensors)
    # All of a type in one message: a model has hundreds of weights, and each message has its delay.
    for dtype in dict.fromkeys(tensor.dtype for tensor in tensors if tensor is not None):
        places = [i for i, tensor in enumerate(tensors) if tensor is not None and tensor.dtype == dtype]
        flat = torch.cat([tensors[i].reshape(-1) for i in places])
        torch.distributed.all_reduce(flat)
        pieces = flat.split([tensors[i].numel() for i in places])
        for i, piece in zip(places, pieces, strict=True):
            total[i] = piece.view(tensors[i].shape)
    return total


@torch.no_grad()
def left_to_main(variables):
    """Set `variables`, which hold sums over all processes, to 0 in all but process 0, if each process has its own."""
    if process_rank():
        for variable in variables:
            variable.value.zero_()


@contextlib.contextmanager
def drawing_apart(states):
    """Enter a scope in which each process draws its own numbers from seeds, `states`, that are the same in all.

    Process 0 draws as if it was alone. Nothing changes if one program draws for all.
    """
    rank = process_rank()
    if not rank:
        yield
        return
    shifts = []
    for state in states:
        seeds = state.value.reshape(-1, 2)[:, 0]  # a Repeat has a row for each copy
        own = [
            int(np.random.SeedSequence([seed % 2**32, rank]).generate_state(1)[0] % 2**30)
            for seed in seeds.tolist()
        ]
        shifts.append(torch.tensor(own, dtype=seeds.dtype, device=seeds.device) - seeds)
        seeds += shifts[-1]
    try:
        yield
    finally:
        for state, shift in zip(states, shifts, strict=True):
            state.value.reshape(-1, 2)[:, 0] -= shift


def trains_apart():
    """Return True if processes have joined, but Keras would train a model in each of them."""
    return processes() > 1


def is_lost(error):
    """Return True if `error` is an engine's about another process that has ended or does not answer."""
    # Gloo's own are plain RuntimeErrors, which begin with the file of its code that they come from.
    of_gloo = type(error) is RuntimeError and re.match(r"\[\S*gloo/\S*\]", str(error)) is not None
    return of_gloo or isinstance(error, torch.distributed.DistError)
