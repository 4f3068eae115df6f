"""An engine that was built for GPUs, on a machine where it finds none."""

import os

from flowkit.cli.failure import say
from flowkit.engines import engine

_HIDDEN = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")


def note_missing_card():
    """Say so if training is on CPU although the engine could use a GPU, unless the environment hides them all."""
    build = engine.gpu_build()
    on_cpu = all(device.startswith("cpu") for device in engine.devices())
    if build is None or not on_cpu or any(os.environ.get(name) in ("", "-1") for name in _HIDDEN):
        return
    say(
        f"note: training is on CPU: {engine.name} {engine.version()} is built for {build}, and finds no card; "
        "CUDA_VISIBLE_DEVICES= in the environment says that none is wanted"
    )
