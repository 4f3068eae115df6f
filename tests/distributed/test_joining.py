"""What joining a group does with a launcher's words: a device, a seed, a time-out; asked without other processes."""

import socket
import time

import keras
import pytest

from flowkit import distributed
from flowkit.distributed import group
from flowkit.engines import engine

LAUNCHERS = ("RANK", "KERAS_DISTRIBUTION_NUM_PROCESSES", "JAX_COORDINATOR_ADDRESS", "SLURM_STEP_NUM_TASKS")


@pytest.fixture(autouse=True)
def not_started(monkeypatch):
    monkeypatch.setattr(group, "_started", False)
    monkeypatch.setattr(group, "_model_made", False)
    for name in LAUNCHERS:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.skipif(engine.name != "torch", reason="JAX ends the process itself")
@pytest.mark.parametrize(("rank", "stranger"), [(0, False), (1, False), (1, True)])
def test_start_raises_in_time_if_nobody_is_there_or_a_stranger_who_says_nothing(monkeypatch, rank, stranger):
    with socket.create_server(("127.0.0.1", 0)) as at_the_port:
        for name, value in (
            ("COORDINATOR_ADDRESS", f"127.0.0.1:{at_the_port.getsockname()[1]}"),
            ("NUM_PROCESSES", "2"),
            ("PROCESS_ID", str(rank)),
        ):
            monkeypatch.setenv(f"JAX_{name}", value)
        if not stranger:
            at_the_port.close()
        begin = time.monotonic()
        with pytest.raises(RuntimeError):
            distributed.start(minutes=0.005)
        assert time.monotonic() - begin < 20


def test_a_process_alone_is_seeded_once(monkeypatch):
    seeds = []
    monkeypatch.setattr(keras.utils, "set_random_seed", seeds.append)
    distributed.start(seed=3)
    distributed.start(seed=4)
    assert seeds == [3]


@pytest.mark.skipif(engine.name != "torch", reason="of PyTorch")
@pytest.mark.parametrize(("local_rank", "device"), [(None, 0), (2, 2), (5, 1)])
def test_on_pytorch_each_process_of_a_host_takes_a_gpu_of_its_own(monkeypatch, local_rank, device):
    import torch

    from flowkit.engines import torch_group as own

    done = []
    store = torch.distributed.HashStore()
    monkeypatch.setattr(torch.distributed, "rendezvous", lambda place, timeout: iter([(store, 1, 8)]))
    monkeypatch.setattr(
        torch.distributed, "init_process_group", lambda kinds, **given: done.append((kinds, given["rank"]))
    )
    monkeypatch.setattr(torch.distributed, "new_group", lambda **given: None)
    monkeypatch.setattr(own, "_beat", lambda beats, count: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", done.append)
    engine.join("first:1", 8, 1, local_rank, 60)
    assert done == [device, ("cpu:gloo,cuda:nccl", 1)]  # the device first: NCCL takes the current one


@pytest.mark.skipif(engine.name != "jax", reason="of JAX")
@pytest.mark.parametrize(
    ("local_rank", "shown", "devices"), [(None, "", None), (2, "", [2]), (2, "0,1,2", [2]), (2, "2", None)]
)
@pytest.mark.two_engines
def test_on_jax_each_process_of_a_host_takes_a_gpu_unless_the_launcher_has_dealt_them_out(
    monkeypatch, local_rank, shown, devices
):
    import jax

    asked = []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
    monkeypatch.setattr(jax.distributed, "initialize", lambda *given, **more: asked.append((given, more)))
    monkeypatch.setattr(jax.config, "update", lambda name, value: None)
    monkeypatch.setattr(engine, "use_devices", lambda: None)
    engine.join("first:1", 4, 1, local_rank, 60)
    (((address, count, rank), more),) = asked
    assert (address, count, rank, more["local_device_ids"]) == ("first:1", 4, 1, devices)
    assert more["initialization_timeout"] == 60
