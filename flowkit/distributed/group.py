"""The group of processes, from its start to its end."""

import atexit
import io
import os
from typing import Annotated

import keras
import numpy as np

from flowkit import engines
from flowkit.contract import Tensor
from flowkit.contract.arguments import Positive, checked, whole
from flowkit.distributed.failed import end_on_errors, exchanged, leave, leave_at_exit
from flowkit.distributed.launcher import launched
from flowkit.engines import engine

_started = False
_was_main = True  # in the group that was left, if there was one
_model_made = False


@checked
def start(*, seed: Annotated[int, whole(0, 2**32 - 1)] = 0, minutes: Positive = 10.0) -> None:
    """Join the processes that a launcher has started, before any model is made; alone, set the seed only.

    Reads the environment variables of torchrun, SLURM, Keras (`KERAS_DISTRIBUTION_JOB_ADDRESSES`, ...) or JAX
    (`JAX_COORDINATOR_ADDRESS`, `JAX_NUM_PROCESSES`, `JAX_PROCESS_ID`), chooses the device, and sets the same Keras
    seed in all processes. On JAX it also spreads batches over all devices that a process sees, even a process alone.
    From then on a process ends at once if it fails, and the others in their next step. A second call does nothing.

    Args:
        seed: a whole number from 0 up, which determines weights and noise.
        minutes: how long to wait for the others, here and (on PyTorch) in each step.

    Raises:
        RuntimeError: if a model was made before, or another process did not come. (JAX itself ends the process then.)
        NotImplementedError: in a group on TensorFlow or numpy.
        ValueError: if the environment variables do not fit together, or an argument is out of range.

    >>> start()
    >>> rank(), world(), is_main()
    (0, 1, True)
    """
    global _started
    if _started:
        return
    launch = launched(os.environ)
    if launch is not None:
        _join(launch, 60 * minutes)
    elif not _model_made:
        engine.use_devices()
    with engines.sparing_tensorflow():  # Keras would import it for the seed
        keras.utils.set_random_seed(seed)
    _started = True


def _join(launch, seconds):
    if _model_made:
        raise RuntimeError(
            "flowkit.distributed.start expects to be called before any model is made, received one in a program whose "
            "flow is there already. Call it right after `import flowkit`."
        )
    engine.join(_address(launch), launch.processes, launch.rank, launch.local_rank, seconds)
    end_on_errors()
    atexit.register(leave_at_exit)


def _address(launch):
    """Return the "host:port" where process 0 waits for the others; None if torchrun's agent connects them."""
    if launch.launcher == "torchrun" and engine.name == "torch":
        return None
    if launch.address is None:
        raise ValueError(
            f"{launch.launcher} has started {launch.processes} processes, but does not say where they meet: set "
            "MASTER_ADDR and MASTER_PORT, or KERAS_DISTRIBUTION_JOB_ADDRESSES=host:port."
        )
    if launch.launcher != "torchrun":
        return launch.address
    host, _, port = launch.address.rpartition(":")
    return f"{host}:{int(port) + 1}"  # torchrun's agent has taken the port itself


def stop() -> None:
    """Leave the group, once all processes come here; each then goes on alone. The end of a program does it too.

    Use the model of the group before, in all processes. Raises `ProcessLost` if another process exchanges
    something else meanwhile.
    """
    global _was_main
    _was_main = is_main()
    leave()
    atexit.unregister(leave_at_exit)


def rank() -> int:
    """Return the number of this process in its group, from 0. After `stop` it is 0: use `is_main` there."""
    return engine.process_rank()


def world() -> int:
    """Return the number of processes in the group; 1 without a group."""
    return engine.processes()


def is_main() -> bool:
    """Return True in process 0, which alone writes files and prints; after `stop` as before."""
    return rank() == 0 and _was_main


def barrier() -> None:
    """Wait until all processes come here. Raises `ProcessLost` if one leaves the group meanwhile."""
    gather(np.zeros(0, "uint8"))


def gather(rows: Tensor) -> np.ndarray:
    """Return the rows of all processes in the order of their ranks. All call it, with any number of rows.

    >>> gather(np.arange(3)).tolist()
    [0, 1, 2]
    """
    rows = np.asarray(rows)
    if world() == 1:
        return rows
    file = io.BytesIO()
    np.save(file, rows, allow_pickle=False)
    given = exchanged(file.getvalue())
    return np.concatenate([np.load(io.BytesIO(data), allow_pickle=False) for data in given])


def mine(rows: Tensor) -> Tensor:
    """Return this process's part of rows that all processes have: `gather` puts the parts together again.

    >>> mine(np.arange(3)).tolist()
    [0, 1, 2]
    """
    return np.array_split(rows, world())[rank()]


def note_model() -> None:
    """Remember that a model was made: from then on no group can be joined."""
    global _model_made
    _model_made = True


def started() -> bool:
    """Return True if `start` has been called in this process."""
    return _started
