"""--backend, before Keras is imported; the processes of a launcher; a note if training misses a GPU."""

import contextlib
import ctypes
import os
import sys
import threading
import warnings

from flowkit._engine import require_engine
from flowkit.app import failure, interrupt
from flowkit.app.failure import CommandError, note

_LONG = 2  # seconds without a word
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
_HIDE_GPUS = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")


def use(backend, *, trains=False, shares=False):
    """Choose the backend: Keras reads the choice when it is first imported.

    A command that `trains`, or `shares` its work, joins the other processes that a launcher has started, before the
    backend does anything. Any other command goes on in the main process alone.
    """
    if backend is not None:
        if "keras" in sys.modules and os.environ.get("KERAS_BACKEND") != backend:
            raise CommandError(f"--backend {backend}: Keras already runs on another backend in this process")
        os.environ["KERAS_BACKEND"] = backend
    if os.environ.get("KERAS_BACKEND") != "tensorflow":
        # `convert` imports TensorFlow for its checkpoints, and TensorFlow prints lines about oneDNN.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    # By default threads of PyTorch spin after each small operation: nine times the processor time on two busy cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    require_engine()
    keep_freed_memory()
    with _announced(f"starting {os.environ['KERAS_BACKEND']}"):
        _start(trains, shares)
    interrupt.check()  # an exception may have been dropped meanwhile


@contextlib.contextmanager
def _announced(message):
    """Print `message` in the main process if the block takes long."""
    timer = threading.Timer(_LONG, note, [message])
    timer.daemon = True
    if os.environ.get("RANK", "0") in ("0", ""):
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _start(trains, shares):
    """Import the backend and start it, in a group of processes after joining it."""
    from flowkit.engines import engine, spare_tensorflow

    spare_tensorflow()
    if trains or (shares and _launch() is not None):  # alone, train on all devices that the backend sees
        from flowkit import distributed

        distributed.start()
        if distributed.world() > 1:
            failure.process = distributed.rank()
            if failure.process:
                warnings.simplefilter("ignore")  # the main process prints the same
    elif not shares:
        main_alone()
    engine.devices()  # starts the backend


def _launch():
    """Return the launcher's description of this process and the others that it has started; None without others."""
    from flowkit.distributed.group import launched

    return launched(os.environ)


def main_alone():
    """End all but the first of the processes that a launcher has started, for a command of one process.

    Each would do all of it, and all would write the same files. The first one does not join the others.
    """
    launch = _launch()
    if launch is None:
        return
    if launch.rank:
        raise CommandError("", 0)
    note(
        f"note: this command works in one process: of the {launch.processes} that {launch.launcher} has started the "
        "others have nothing to do"
    )


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


def note_missed_gpu():
    """Print a note if a backend that was built for GPUs trains on CPU."""
    from flowkit.engines import engine

    build = engine.gpu_build()
    hidden = any(os.environ.get(name) in ("", "-1") for name in _HIDE_GPUS)
    if build is not None and not hidden and all(device.startswith("cpu") for device in engine.devices()):
        note(
            f"note: training is on CPU: {engine.name} {engine.version()} is built for {build}, and finds no "
            "GPU; CUDA_VISIBLE_DEVICES= in the environment says that none is wanted"
        )
