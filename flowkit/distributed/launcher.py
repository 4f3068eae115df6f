"""Read the environment variables of launchers: the number of processes, the rank of this one, their address."""

import re
from collections.abc import Mapping
from typing import NamedTuple

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
            f"{launcher} says that this is process {number} of {processes}: expected a rank from 0 to {processes - 1}."
        )
    if processes == 1:
        return None
    address = _address(launcher, environment)
    one_each = {  # a process for each host
        "torchrun": environment.get("LOCAL_WORLD_SIZE") == "1",
        "SLURM": re.fullmatch(r"1(\(x\d+\))?", environment.get("SLURM_STEP_TASKS_PER_NODE", "")) is not None,
    }
    alone = one_each.get(launcher) or not environment.get(local)
    return Launch(launcher, processes, number, None if alone else _number(environment, local), address)


def _address(launcher, given):
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
            f"{name}: expected a whole number from the launcher, received {text or 'none'!r}. To run one process "
            "alone, unset what it has set."
        )
    return int(text)
