"""A group of processes that train one model on PyTorch: `torch.distributed`, one process for each device."""

import contextlib
import datetime
import re
import time
import uuid

import numpy as np
import torch

from flowkit.engines.together import meeting


def join(address, count, rank, local_rank, seconds):
    """Join the group of `count` processes that meets at `address` ("host:port"); wait `seconds` for the others.

    `address` None leaves the meeting to the launcher. `local_rank` is the number among the processes of this host; None
    if it has all devices of the host.
    """
    timeout = datetime.timedelta(seconds=seconds)
    place = "env://" if address is None else f"tcp://{address}?rank={rank}&world_size={count}"
    store, _, _ = next(torch.distributed.rendezvous(place, timeout=timeout))
    store.set_timeout(timeout)
    store = _of_this_start(store, rank, count, seconds)
    kinds = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device((local_rank or 0) % torch.cuda.device_count())
        kinds = "cpu:gloo,cuda:nccl"
    torch.distributed.init_process_group(kinds, store=store, rank=rank, world_size=count, timeout=timeout)


def _of_this_start(store, rank, count, seconds):
    """A part of the store without the words of an earlier start: torchrun keeps one store through all of them.

    Each process asks with a word that is new, so that only a process 0 that lives can have answered: with a word of its
    own, under which this start keeps everything.
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


def leave():
    """Leave the group; the others are waited for."""
    if processes() > 1:
        exchange(b"")  # or the first one to go takes the others' connections with it
        torch.distributed.destroy_process_group()


def processes():
    """How many processes have joined to train one model."""
    distributed = torch.distributed
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def process_rank():
    """The number of this process in its group, from 0."""
    return torch.distributed.get_rank() if processes() > 1 else 0


def exchange(data):
    """The bytes that each process gives, in the order of their ranks."""
    if processes() == 1:
        return [data]
    given = [b""] * processes()
    with meeting():
        torch.distributed.all_gather_object(given, data)
    return given


@torch.no_grad()
def copy_from_main(variables):
    """Give `variables` the values that they have in process 0, if each process has its own."""
    if processes() == 1:
        return
    for variable in variables:
        # As bytes: gloo does not know all types.
        value = variable.value.detach().contiguous()
        data = value.reshape(-1).view(torch.uint8).clone()
        with meeting():
            torch.distributed.broadcast(data, 0)
        variable.value.copy_(data.view(value.dtype).reshape(value.shape))


@torch.no_grad()
def summed(tensors):
    """The tensors added up over the processes, if a tensor is not that of all of them already."""
    tensors = list(tensors)
    if processes() == 1:
        return tensors
    total = list(tensors)
    # All of a type in one message: a model has hundreds of weights, and each message has its delay.
    for dtype in dict.fromkeys(tensor.dtype for tensor in tensors if tensor is not None):
        places = [i for i, tensor in enumerate(tensors) if tensor is not None and tensor.dtype == dtype]
        flat = torch.cat([tensors[i].reshape(-1) for i in places])
        with meeting():
            torch.distributed.all_reduce(flat)
        pieces = flat.split([tensors[i].numel() for i in places])
        for i, piece in zip(places, pieces, strict=True):
            total[i] = piece.view(tensors[i].shape)
    return total


@torch.no_grad()
def left_to_main(variables):
    """Set `variables`, sums of which each process has its own, to 0 in all but process 0, which has those of all."""
    if process_rank():
        for variable in variables:
            variable.value.zero_()


@contextlib.contextmanager
def drawing_apart(states):
    """A scope in which processes draw numbers of their own from seeds that are the same in all, given their states.

    Process 0 draws what the seeds say. Nothing changes if one program draws for all.
    """
    rank = process_rank()
    if not rank:
        yield
        return
    shifts = []
    for state in states:
        seed = int(state.value[0])
        own = int(np.random.SeedSequence([seed % 2**32, rank]).generate_state(1)[0] % 2**30)
        shifts.append(own - seed)
        state.value[0] += own - seed
    try:
        yield
    finally:
        for state, shift in zip(states, shifts, strict=True):
            state.value[0] -= shift


def trains_apart():
    """Whether processes have joined, but Keras would train a model in each of them."""
    return processes() > 1


def is_lost(error):
    """Whether `error` says that another process does not answer any more."""
    # Gloo's own are plain RuntimeErrors, which begin with the file of its code that they come from.
    of_gloo = type(error) is RuntimeError and re.match(r"\[\S*gloo/\S*\]", str(error)) is not None
    return of_gloo or isinstance(error, torch.distributed.DistError)
