"""Train by several processes and devices: check that they agree, and begin with the same weights."""

import contextlib
import os
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import tree

from flowkit import distributed
from flowkit.contract.arguments import shown
from flowkit.distributed.group import launched, started
from flowkit.engines import engine

if TYPE_CHECKING:
    from flowkit.flow.flow import Flow


def check_devices() -> None:
    """Raise if processes or devices would train models apart: RuntimeError or NotImplementedError."""
    distribution = keras.distribution.distribution()
    # Processes share batches whether it is set or not.
    shared = isinstance(distribution, keras.distribution.DataParallel) and engine.processes() > 1
    several = distribution is not None and distribution.device_mesh.devices.size > 1
    if several and not shared and engine.name != "jax":
        raise NotImplementedError(
            f"fit: got {type(distribution).__name__} of keras.distribution on {engine.name}, where Keras trains on one "
            "device. Set KERAS_BACKEND=jax, or start a process for each device on PyTorch (flowkit.distributed)."
        )
    if started() or (engine.processes() > 1 and distribution is not None):
        return
    launch = launched(os.environ)
    alone = launch is None or launch.launcher == "SLURM"  # srun may start other things
    if engine.processes() > 1 or not alone:
        raise RuntimeError(
            "fit: got several processes that would each train their own weights, expected processes that have joined. "
            "Call flowkit.distributed.start() before the model is made."
        )


def check_same_work(x: Any, first: Any, options: dict[str, Any]) -> None:
    """Raise ValueError unless all processes call `fit` or `evaluate` with as much to do: others would wait."""
    check_same(
        {
            "rows of a batch": 0 if first is None else len(first),
            "batches or rows in all": _length(x),
            "batch_size": options["batch_size"],
            "steps": options.get("steps_per_epoch") or options.get("steps"),
            "epochs": options.get("epochs"),
            "epochs done": options.get("initial_epoch", 0),
            "steps of the epoch done": getattr(x, "step", 0),
            "rows to validate on": _length(options.get("validation_data")),
        }
    )


def check_same(told: dict[str, Any]) -> None:
    """Raise ValueError in all processes unless all call with equal values, {name: number}."""
    sums = [zlib.crc32(repr(value).encode()) for value in told.values()]
    given = distributed.gather(np.array([sums], "int64"))
    differing = [name for name, values in zip(told, given.T, strict=True) if (values != values[0]).any()]
    if differing:
        here = ", ".join(f"{name} {shown(told[name])}" for name in differing)
        raise ValueError(
            f"processes: got another {' and another '.join(differing)} in some of them (here {here}), expected the "
            f"same in all {len(given)}. Pass the same arguments and as many rows in each; a resumed run must be in a "
            "folder that all of them see."
        )


def _length(x):
    """Return the number of rows or batches of data; 0 for a generator, which has no length."""
    try:
        return len(next(part for part in tree.flatten(x) if part is not None))
    except (TypeError, StopIteration):
        return 0


@contextlib.contextmanager
def together(flow: "Flow") -> Iterator[None]:
    """Enter a scope in which processes train one model: it begins with the weights of process 0.

    Their noise differs.
    """
    if engine.processes() == 1:
        yield
        return
    # From Keras 3.16 on, on PyTorch: it copies weights then, and seeds with them.
    if hasattr(flow, "ddp_model"):
        flow.make_train_function()
    optimizer = getattr(flow, "optimizer", None)  # Keras has an error for a flow without `compile`
    variables = [*flow.variables, *(optimizer.variables if optimizer else [])]
    engine.copy_from_main(variables)
    states = [variable for variable in flow.variables if variable.name.endswith("seed_generator_state")]
    with engine.drawing_apart(states):
        yield
