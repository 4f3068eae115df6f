"""Read the environment variables of launchers: the number of processes, the rank of this one, their address."""

import re
from collections.abc import Mapping
from typing import NamedTuple


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
    launch = _read(environment)
    if launch is None:
        return None
    if not 0 <= launch.rank < launch.processes:
        raise ValueError(
            f"{launch.launcher} says that this is process {launch.rank} of {launch.processes}: expected a rank from 0 "
            f"to {launch.processes - 1}."
        )
    if launch.processes == 1:
        return None
    if launch.address is not None and not re.fullmatch(r".+:\d+", launch.address):
        raise ValueError(
            f"{launch.launcher} says that processes meet at {launch.address!r}: expected host:port, such as "
            "first-host:29400."
        )
    return launch


def _read(given):
    """Return the Launch of the first launcher whose variables are set."""
    master = None
    if given.get("MASTER_ADDR") and given.get("MASTER_PORT"):
        master = f"{given['MASTER_ADDR']}:{given['MASTER_PORT']}"

    def launch(launcher, count, rank, address, local_rank="LOCAL_RANK", alone=False):
        local = None if alone else _number(given, local_rank, None)
        return Launch(launcher, _number(given, count), _number(given, rank), local, address or None)

    if _are_there(given, "RANK", "WORLD_SIZE"):
        return launch("torchrun", "WORLD_SIZE", "RANK", master, alone=given.get("LOCAL_WORLD_SIZE") == "1")
    keras = "KERAS_DISTRIBUTION"
    if _are_there(given, f"{keras}_NUM_PROCESSES"):
        first = given.get(f"{keras}_JOB_ADDRESSES", "").split(",")[0]
        return launch(keras, f"{keras}_NUM_PROCESSES", f"{keras}_PROCESS_ID", first)
    if _are_there(given, "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES"):
        return launch("JAX", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID", given["JAX_COORDINATOR_ADDRESS"])
    # The step, which srun starts: the batch script itself is one process of a job with several tasks.
    if _are_there(given, "SLURM_STEP_NUM_TASKS", "SLURM_PROCID"):
        one_each = re.fullmatch(r"1(\(x\d+\))?", given.get("SLURM_STEP_TASKS_PER_NODE", "")) is not None
        address = master or _slurm_address(given)
        return launch("SLURM", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID", address, "SLURM_LOCALID", one_each)
    return None


def _slurm_address(given):
    """Return the first host of the step, and a port that follows from the numbers of job and step; None without one.

    SLURM's list "rack[1-2]-node[07-09,12],login" begins with the host "rack1-node07".
    """
    first = re.findall(r"(?:[^,\[]|\[[^\]]*\])*", given.get("SLURM_STEP_NODELIST", ""))[0]
    host = re.sub(r"\[(\d+)[^\]]*\]", r"\1", first)
    port = 65000 + _number(given, "SLURM_JOB_ID", 0) % 500 + _number(given, "SLURM_STEP_ID", 0) % 30
    return f"{host}:{port}" if host else None


def _are_there(given, *names):
    return set(names) <= given.keys() and any(given[name] for name in names)


_REQUIRED = object()


def _number(given, name, default=_REQUIRED):
    text = given.get(name) or None
    if text is None and default is not _REQUIRED:
        return default
    if text is None or not text.isdecimal():
        received = "none" if text is None else repr(text)
        raise ValueError(
            f"{name}: expected a whole number from the launcher, received {received}. To run one process alone, unset "
            "what it has set."
        )
    return int(text)
