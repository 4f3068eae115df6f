"""--backend, before Keras is imported; notes about an engine that will be slow."""

import contextlib
import ctypes
import importlib
import os
import sys

from flowkit._engine import ENGINES, require_engine
from flowkit.app import group, interrupt
from flowkit.app.failure import CommandError, say

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
_HIDE_GPUS = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")


def use(backend, *, trains=False, shares=False):
    """Choose the engine: Keras reads the choice when it is first imported.

    A command that `trains`, or `shares` its work, joins the other processes that a launcher has started, before the
    engine does anything. Any other command goes on in the main process alone.
    """
    if backend is not None:
        if backend not in ENGINES:
            raise CommandError(f"--backend: expected one of {', '.join(ENGINES)}, received {backend!r}")
        if "keras" in sys.modules and os.environ.get("KERAS_BACKEND") != backend:
            raise CommandError(f"--backend {backend}: Keras already runs on another engine in this process")
        os.environ["KERAS_BACKEND"] = backend
    if os.environ.get("KERAS_BACKEND") != "tensorflow":
        # `convert` imports TensorFlow for its checkpoints, and TensorFlow talks about oneDNN.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    require_engine()
    keep_freed_memory()
    with interrupt.later():
        engines = importlib.import_module("flowkit.engines")
        engines.spare_tensorflow()
    if trains or (shares and group.launched_others()):
        group.join()
    elif not shares:
        group.main_alone()
    with interrupt.later():
        engines.engine.devices()  # starts the engine


def keep_freed_memory():
    """Make glibc keep freed memory; do nothing with another C library.

    Each training step frees all of its activations. By default glibc returns such memory to the system and gets it
    back page by page, filled with zeros: a third of the time of a small Glow on CPU.
    """
    if not sys.platform.startswith("linux"):
        return
    with contextlib.suppress(OSError, AttributeError):  # another C library
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_MMAP_THRESHOLD, 2**30) or mallopt(_MMAP_THRESHOLD, 2**25)  # older versions allow less


def note_slow_engine():
    """Print a note if training is on CPU by mistake, or beside other work that PyTorch's threads would wait for."""
    engine = importlib.import_module("flowkit.engines").engine
    if not all(device.startswith("cpu") for device in engine.devices()):
        return
    build = engine.gpu_build()
    if build is not None and not any(os.environ.get(name) in ("", "-1") for name in _HIDE_GPUS):
        say(
            f"note: training is on CPU: {engine.name} {engine.version()} is built for {build}, and finds no "
            "card; CUDA_VISIBLE_DEVICES= in the environment says that none is wanted"
        )
    busy, cores = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0, os.cpu_count() or 1
    one_thread = engine.name != "torch" or "OMP_NUM_THREADS" in os.environ
    if not one_thread and cores > 1 and busy > cores / 2:
        say(
            f"note: other work keeps {busy:.1f} of {cores} cores busy. Should PyTorch be slow, its threads wait for "
            "each other: OMP_NUM_THREADS=1 in the environment gives it one"
        )
