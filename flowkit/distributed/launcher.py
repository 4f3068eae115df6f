"""What launchers say in the environment: how many processes there are, which is this one, where they meet."""

import re
from collections.abc import Mapping
from typing import NamedTuple


class Launch(NamedTuple):
    """This process among those that a launcher has started.

    `address` is "host:port" of process 0, or None if the launcher does not say; `local_rank` counts the processes of
    this host, None if this is the only one, or if that is not known.

    >>> Launch("torchrun", processes=4, rank=3, local_rank=1, address="10.0.0.1:29500").rank
    3
    """

    launcher: str
    processes: int
    rank: int
    local_rank: int | None
    address: str | None


def launched(environment: Mapping[str, str]) -> Launch | None:
    """What torchrun, SLURM, Keras's or JAX's variables say; None for a process that was started by itself.

    A launcher's variables that are all empty are as good as unset. Raises ValueError if what they say does not fit
    together.

    >>> launched({"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "a", "MASTER_PORT": "29500"})
    Launch(launcher='torchrun', processes=2, rank=1, local_rank=1, address='a:29500')
    >>> slurm = {"SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "3", "SLURM_LOCALID": "1", "SLURM_JOB_ID": "70001"}
    >>> launched({**slurm, "SLURM_STEP_NODELIST": "node[07-09,12]"})
    Launch(launcher='SLURM', processes=8, rank=3, local_rank=1, address='node07:65001')
    >>> launched({})
    """
    for read in (_torchrun, _keras, _jax, _slurm):
        launch = read(environment)
        if launch is not None:
            if not 0 <= launch.rank < launch.processes:
                raise ValueError(
                    f"{launch.launcher} says that this is process {launch.rank} of {launch.processes}: expected a rank "
                    f"from 0 to {launch.processes - 1}."
                )
            if launch.processes == 1:
                return None
            if launch.address is not None and not re.fullmatch(r".+:\d+", launch.address):
                raise ValueError(
                    f"{launch.launcher} says that processes meet at {launch.address!r}: expected host:port, such as "
                    "first-host:29400."
                )
            return launch
    return None


def starts_again(environment: Mapping[str, str]) -> bool:
    """Whether who has started this process may start it again with the same words: torchrun, or a group's launcher.

    >>> starts_again({"RANK": "0", "WORLD_SIZE": "1"}), starts_again({})
    (True, False)
    """
    return _are_there(environment, "RANK", "WORLD_SIZE") or launched(environment) is not None


def _torchrun(environment):
    if not _are_there(environment, "RANK", "WORLD_SIZE"):
        return None
    address = _address(environment, "MASTER_ADDR", "MASTER_PORT")
    return Launch(
        "torchrun",
        _number(environment, "WORLD_SIZE"),
        _number(environment, "RANK"),
        None if environment.get("LOCAL_WORLD_SIZE") == "1" else _number(environment, "LOCAL_RANK", None),
        address,
    )


def _keras(environment):
    if not _are_there(environment, "KERAS_DISTRIBUTION_NUM_PROCESSES"):
        return None
    addresses = environment.get("KERAS_DISTRIBUTION_JOB_ADDRESSES", "")
    return Launch(
        "KERAS_DISTRIBUTION",
        _number(environment, "KERAS_DISTRIBUTION_NUM_PROCESSES"),
        _number(environment, "KERAS_DISTRIBUTION_PROCESS_ID"),
        _number(environment, "LOCAL_RANK", None),
        addresses.split(",")[0] or None,
    )


def _jax(environment):
    if not _are_there(environment, "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES"):
        return None
    return Launch(
        "JAX",
        _number(environment, "JAX_NUM_PROCESSES"),
        _number(environment, "JAX_PROCESS_ID"),
        _number(environment, "LOCAL_RANK", None),
        environment["JAX_COORDINATOR_ADDRESS"] or None,
    )


def _slurm(environment):
    # Of the step, which srun starts: the batch script itself is one process, however many tasks its job has.
    if not _are_there(environment, "SLURM_STEP_NUM_TASKS", "SLURM_PROCID"):
        return None
    host = _first_host(environment.get("SLURM_STEP_NODELIST", ""))
    port = (
        65000 + _number(environment, "SLURM_JOB_ID", 0) % 500 + _number(environment, "SLURM_STEP_ID", 0) % 30
    )
    one_each = re.fullmatch(r"1(\(x\d+\))?", environment.get("SLURM_STEP_TASKS_PER_NODE", ""))
    named = _address(environment, "MASTER_ADDR", "MASTER_PORT")
    return Launch(
        "SLURM",
        _number(environment, "SLURM_STEP_NUM_TASKS"),
        _number(environment, "SLURM_PROCID"),
        None if one_each else _number(environment, "SLURM_LOCALID", None),
        named or (f"{host}:{port}" if host else None),
    )


def _first_host(nodes):
    """Of a list as SLURM writes it: of "rack[1-2]-node[07-09,12],login" it is "rack1-node07"; "" of an empty one."""
    first = re.match(r"(?:[^,\[]|\[[^\]]*\])*", nodes)[0]
    return re.sub(r"\[(\d+)[^\]]*\]", r"\1", first)


def _are_there(environment, *names):
    return set(names) <= environment.keys() and any(environment[name] for name in names)


def _address(environment, host, port):
    host, port = environment.get(host), environment.get(port)
    return f"{host}:{port}" if host and port else None


_REQUIRED = object()


def _number(environment, name, default=_REQUIRED):
    text = environment.get(name) or None
    if text is None and default is not _REQUIRED:
        return default
    if text is None or not text.isdecimal():
        given = "none" if text is None else repr(text)
        raise ValueError(
            f"{name}: expected a whole number from the launcher, received {given}. To run one process alone, unset "
            "what it has set."
        )
    return int(text)
