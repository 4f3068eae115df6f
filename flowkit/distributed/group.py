"""The group of processes, from its start to its end."""

import atexit
import io
import os
from typing import Any

import keras
import numpy as np

from flowkit import engines
from flowkit.contract.arguments import whole_number
from flowkit.distributed.failed import exchanged
from flowkit.distributed.launcher import launched
from flowkit.distributed.lost import (
    end_at_once,
    end_if_failed,
    end_on_errors,
    leave_in_order,
    naming_the_lost,
    watch_no_more,
    watch_the_others,
)
from flowkit.engines import engine

_started = False
_was_main = True  # in the group that was left, if there was one
_model_made = False


def start(*, seed: int = 0, minutes: float = 10.0) -> None:
    """Join the processes that a launcher has started, before any model is made; alone, seed and go on.

    Reads what torchrun, SLURM, Keras (`KERAS_DISTRIBUTION_JOB_ADDRESSES`, ...) or JAX (`JAX_COORDINATOR_ADDRESS`,
    `JAX_NUM_PROCESSES`, `JAX_PROCESS_ID`) put into the environment, chooses the device, and sets Keras's random seed,
    the same in all. On JAX it also spreads batches over all devices that each process sees, even if it is alone.
    A process of the group that fails from now on ends at once. A second call does nothing.

    Args:
        seed: a whole number from 0 up; weights and noise follow from it.
        minutes: how long to wait for the others, here and in each step, before the group counts as broken.

    Raises:
        RuntimeError: if a model was made before, or the others did not come.
        NotImplementedError: in a group on TensorFlow or numpy.
        ValueError: if the environment does not say who this is, or an argument is out of range.

    >>> start()
    >>> rank(), world(), is_main()
    (0, 1, True)
    """
    global _started
    seed = whole_number(seed, "seed", least=0, most=2**32 - 1)
    if not minutes > 0:
        raise ValueError(f"minutes: expected a positive number, received {minutes!r}.")
    if _started:
        return
    launch = launched(os.environ)
    if launch is not None:
        _join(launch, 60 * minutes)
    elif not _model_made:
        engine.use_devices()
    with engines.sparing_tensorflow():  # which Keras would import for its seed
        keras.utils.set_random_seed(seed)
    _started = True


def _join(launch, seconds):
    if _model_made:
        raise RuntimeError(
            "flowkit.distributed.start expects to be called before any model is made, received one in a program whose "
            "flow is there already. Call it right after `import flowkit`."
        )
    if engine.processes() > 1:
        raise RuntimeError(
            f"flowkit.distributed.start joins the processes itself, received a group of {engine.processes()} that "
            "has been joined. Leave out the other call."
        )
    own_way = launch.launcher == "torchrun" and engine.name == "torch"  # its agent may keep the store
    if launch.address is None and not own_way:
        raise ValueError(
            f"{launch.launcher} has started {launch.processes} processes, but does not say where they meet: set "
            "MASTER_ADDR and MASTER_PORT, or KERAS_DISTRIBUTION_JOB_ADDRESSES=host:port."
        )
    address = None if own_way else launch.address
    if launch.launcher == "torchrun" and not own_way:
        host, _, port = str(address).rpartition(":")
        address = f"{host}:{int(port) + 1}"  # the agent has taken the port itself
    try:
        engine.join(address, launch.processes, launch.rank, launch.local_rank, seconds)
        end_on_errors()  # from here on others may wait for this one
        watch_the_others(str(launch.address).rpartition(":")[0], seconds)
    except NotImplementedError:
        raise
    except (RuntimeError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RuntimeError(
            f"process {launch.rank} of {launch.processes} ({launch.launcher}) could not join the others at "
            f"{launch.address}, for which it had {seconds / 60:g} minutes: {reason}"
        ) from error
    atexit.register(_at_exit)


def _at_exit():
    end_if_failed()
    try:
        stop()
    except BaseException as error:  # Python would say it, and end as if nothing were the matter, if at all
        end_at_once(type(error), error, error.__traceback__)


def stop() -> None:
    """Leave the group, once all processes have come here; each then goes on alone. At the end of a program it is done.

    What still uses the model of the group comes before, in all processes: one that comes here too early is named by
    those that wait for it there. Raises `ProcessLost` if another one ends before it comes here.
    """
    global _was_main
    _was_main = is_main()
    leave_in_order()
    with naming_the_lost():
        engine.leave()
    watch_no_more()
    atexit.unregister(_at_exit)


def rank() -> int:
    """The number of this process in its group, from 0. After `stop` each is alone, and 0: ask `is_main` there."""
    return engine.process_rank()


def world() -> int:
    """How many processes there are in the group; 1 without one."""
    return engine.processes()


def is_main() -> bool:
    """True in process 0, which alone writes files and talks; after `stop` as before."""
    return rank() == 0 and _was_main


def barrier() -> None:
    """Wait until all processes have come here. Raises `ProcessLost` if one has ended."""
    gather(np.zeros(0, "uint8"))


def gather(rows: Any) -> np.ndarray:
    """The rows of all processes, in the order of their ranks: numpy. All call it; how many rows each has is free.

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


def mine(rows: Any) -> Any:
    """This process's part of rows that all processes have: `gather` puts them together again.

    >>> mine(np.arange(3)).tolist()
    [0, 1, 2]
    """
    return np.array_split(rows, world())[rank()]


def note_model() -> None:
    """Remember that a model was made: the group can be joined no more."""
    global _model_made
    _model_made = True


def started() -> bool:
    """Whether `start` has been called in this process."""
    return _started
