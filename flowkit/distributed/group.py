"""The group of processes, from the launcher that starts it to its end."""

import atexit
import io
import os
import re
from collections.abc import Mapping
from typing import Annotated, NamedTuple

import keras
import numpy as np

from flowkit import engines
from flowkit.contract import Tensor
from flowkit.contract.arguments import Positive, checked, whole
from flowkit.distributed.failed import end_on_errors, exchanged, leave, leave_at_exit
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
            "flowkit.distributed.start: got a program that has made a flow already, expected a call before any model "
            "is made. Call it right after `import flowkit`."
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


# Launchers

# The variables of each launcher: the number of processes, the rank, and the rank on this host. Those of SLURM are the
# step's, which srun starts: the batch script itself is one process of a job with several tasks.
_VARIABLES = {
    "torchrun": ("WORLD_SIZE", "RANK", "LOCAL_RANK"),
    "KERAS_DISTRIBUTION": ("KERAS_DISTRIBUTION_NUM_PROCESSES", "KERAS_DISTRIBUTION_PROCESS_ID", "LOCAL_RANK"),
    "JAX": ("JAX_NUM_PROCESSES", "JAX_PROCESS_ID", "LOCAL_RANK"),
    "SLURM": ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_LOCALID"),
}


class Launch(NamedTuple):
    """This process among those that a launcher has started.

    `address` is "host:port" of process 0, or None if the launcher does not set it; `local_rank` counts the processes of
    this host, and is None if this is the only one or if that is not known.

    >>> Launch("torchrun", processes=4, rank=3, local_rank=1, address="10.0.0.1:29500").rank
    3
    """

    launcher: str
    processes: int
    rank: int
    local_rank: int | None
    address: str | None


def launched(environment: Mapping[str, str]) -> Launch | None:
    """Read the variables of torchrun, SLURM, Keras or JAX; None for a process that was started by itself.

    Variables of a launcher that are all empty count as unset. Raises ValueError if the variables do not fit together.

    >>> launched({"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "a", "MASTER_PORT": "29500"})
    Launch(launcher='torchrun', processes=2, rank=1, local_rank=1, address='a:29500')
    >>> slurm = {"SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "3", "SLURM_LOCALID": "1", "SLURM_JOB_ID": "70001"}
    >>> launched({**slurm, "SLURM_STEP_NODELIST": "node[07-09,12]"})
    Launch(launcher='SLURM', processes=8, rank=3, local_rank=1, address='node07:65001')
    >>> launched({})
    """
    found = [name for name, (count, _, _) in _VARIABLES.items() if environment.get(count)]
    if not found:
        return None
    launcher = found[0]
    count, rank, local = _VARIABLES[launcher]
    processes, number = _number(environment, count), _number(environment, rank)
    if number >= processes:
        raise ValueError(
            f"{launcher}: got process {number} of {processes}, expected a rank from 0 to {processes - 1}."
        )
    if processes == 1:
        return None
    address = _stated_address(launcher, environment)
    one_each = {  # a process for each host
        "torchrun": environment.get("LOCAL_WORLD_SIZE") == "1",
        "SLURM": re.fullmatch(r"1(\(x\d+\))?", environment.get("SLURM_STEP_TASKS_PER_NODE", "")) is not None,
    }
    alone = one_each.get(launcher) or not environment.get(local)
    return Launch(launcher, processes, number, None if alone else _number(environment, local), address)


def _stated_address(launcher, given):
    """Return the "host:port" of process 0, None if the launcher does not set it."""
    if launcher == "KERAS_DISTRIBUTION":
        return given.get("KERAS_DISTRIBUTION_JOB_ADDRESSES", "").split(",")[0] or None
    if launcher == "JAX":
        return given.get("JAX_COORDINATOR_ADDRESS") or None
    if given.get("MASTER_ADDR") and given.get("MASTER_PORT"):
        return f"{given['MASTER_ADDR']}:{given['MASTER_PORT']}"
    return _slurm_address(given) if launcher == "SLURM" else None


def _slurm_address(given):
    """Return the first host of the step, and a port that follows from the numbers of job and step; None without one.

    SLURM's list "rack[1-2]-node[07-09,12],login" begins with the host "rack1-node07".
    """
    first = re.findall(r"(?:[^,\[]|\[[^\]]*\])*", given.get("SLURM_STEP_NODELIST", ""))[0]
    host = re.sub(r"\[(\d+)[^\]]*\]", r"\1", first)
    port = 65000 + int(given.get("SLURM_JOB_ID", 0)) % 500 + int(given.get("SLURM_STEP_ID", 0)) % 30
    return f"{host}:{port}" if host else None


def _number(given, name):
    text = given.get(name, "")
    if not text.isdecimal():
        raise ValueError(
            f"{name}: got {text!r}, expected a whole number from the launcher. To run one process alone, unset what it "
            "has set."
        )
    return int(text)
