"""A group of processes that train one model on JAX: one program for all, over all of their devices."""

import os
import re

import jax
import keras
import numpy as np
from jax.experimental import multihost_utils

from flowkit.engines.base import Engine

_HEARTBEAT = 45  # seconds without one after which JAX ends the others
_CONNECT = 60  # seconds for JAX to connect processes that have all come
_DAYS = 7 * 24 * 3600  # the main process may still have much to do when the others have ended
_PIECE = 64 * 2**20  # bytes of each process that are exchanged at once


class JaxGroup(Engine):
    """Groups of processes on JAX, which run one program over the devices of all."""

    def join(self, address, count, rank, local_rank, seconds):
        shown = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        alone = shown != "" and "," not in shown  # the launcher has given each process its device
        jax.config.update("jax_enable_preemption_service", False)  # it would keep SIGTERM from Python
        jax.distributed.initialize(
            address,
            count,
            rank,
            local_device_ids=None if alone or local_rank is None else [local_rank],
            cluster_detection_method="deactivate",
            initialization_timeout=_CONNECT,
            heartbeat_timeout_seconds=_HEARTBEAT,
            shutdown_timeout_seconds=_DAYS,
        )
        self.use_devices()

    def draw_alone(self, draw, layer, seed):
        if self.processes() == 1:
            return draw(keras.random.SeedGenerator(seed, name="latents"))
        distribution = keras.distribution.distribution()
        keras.distribution.set_distribution(None)  # of this thread: or the generator would be the group's
        try:
            generator = keras.random.SeedGenerator(seed, name="latents")
            own = [(variable, variable.value.addressable_data(0)) for variable in layer.variables]
            with keras.StatelessScope([*own, (generator.state, generator.state.value)]):
                return draw(generator)
        finally:
            keras.distribution.set_distribution(distribution)

    def use_devices(self):
        if jax.device_count() > 1 and keras.distribution.distribution() is None:
            keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))

    def leave(self):
        if self.processes() > 1:
            jax.distributed.shutdown()
            keras.distribution.set_distribution(None)  # what is made from now on is this process's own

    def processes(self):
        # Asking JAX itself starts its devices.
        return jax.process_count() if jax.distributed.is_initialized() else 1

    def process_rank(self):
        return jax.process_index() if self.processes() > 1 else 0

    def exchange(self, data):
        if self.processes() == 1:
            return [data]
        # Bytes, since JAX makes an int32 of an int64.
        size = np.array([len(data)], "int64").view("uint8")
        sizes = np.asarray(multihost_utils.process_allgather(size)).view("int64")[:, 0]
        given = [bytearray() for _ in sizes]
        # They pass the memory of the devices, from each process as many bytes as the longest message has.
        for start in range(0, int(sizes.max()), _PIECE):
            mine = np.frombuffer(data[start : start + _PIECE], "uint8")
            padded = np.zeros(min(_PIECE, int(sizes.max()) - start), "uint8")
            padded[: len(mine)] = mine
            for whole, size, part in zip(
                given, sizes, multihost_utils.process_allgather(padded), strict=True
            ):
                whole += part[: max(0, int(size) - start)].tobytes()
        return [bytes(whole) for whole in given]

    def trains_apart(self):
        return self.processes() > 1 and keras.distribution.distribution() is None

    def is_lost(self, error):
        # XLA's own begin with a code, "UNKNOWN: Gloo all-reduce failed: ...", and are ValueErrors now and then.
        told = r"UNAVAILABLE: |[A-Z_]+: .*(?i:gloo|nccl|coordination|heartbeat)"
        mine = isinstance(error, jax.errors.JaxRuntimeError | ValueError)
        return mine and re.match(told, str(error), re.DOTALL) is not None
