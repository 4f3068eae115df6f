"""PyTorch on processors that are busy with other work."""

import os

from flowkit.cli.failure import say
from flowkit.engines import engine


def note_busy_processors():
    """Say so if PyTorch's threads would wait for each other, which can make each step take thirty times its time."""
    on_cpu = all(device.startswith("cpu") for device in engine.devices())
    if engine.name != "torch" or not on_cpu or "OMP_NUM_THREADS" in os.environ:
        return
    busy, cores = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0, os.cpu_count() or 1
    if cores > 1 and busy > cores / 2:
        say(
            f"note: other work keeps {busy:.1f} of {cores} cores busy. Should PyTorch be slow, its threads wait for "
            "each other: OMP_NUM_THREADS=1 in the environment gives it one"
        )
