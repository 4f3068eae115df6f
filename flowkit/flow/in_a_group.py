"""Training by several processes and devices: what they must agree on, and what each does for all."""

import contextlib
import os
import zlib

import keras
import numpy as np
from keras import tree

from flowkit import distributed
from flowkit.data.batch_order import Batches
from flowkit.distributed.failed import naming_the_lost
from flowkit.distributed.group import started
from flowkit.distributed.launcher import launched
from flowkit.engines import engine


def check_processes():
    """Raise RuntimeError if several processes would train models apart, each without knowing of the others."""
    launch = None if started() else launched(os.environ)
    # srun may start other things.
    if launch is not None and launch.launcher != "SLURM" and engine.processes() == 1:
        count = launch.processes
    elif not started() and engine.trains_apart():
        count = engine.processes()
    else:
        return
    raise RuntimeError(
        f"fit expects processes that have joined, received a group of {count}, each of which would train weights of "
        "its own: call flowkit.distributed.start() before the model is made."
    )


def check_division(count, batch_size=None):
    """Raise ValueError if a batch of `count` rows in batches of `batch_size` cannot be dealt out evenly to devices.

    Both are those of this process. `batch_size` None is Keras's 32. The last batch, of what is left, counts as well.
    """
    devices = _devices_of_a_batch()
    size = min(batch_size or 32, count)
    for rows in {size, count % size} if size else ():
        if rows % devices:
            raise ValueError(
                f"several devices expect batches that they can share evenly: received a batch of {rows} rows for "
                f"{devices} devices, of {count} rows in batches of {size}. Take a batch_size that is a multiple of "
                f"{devices}, such as {-(-size // devices) * devices}, and leave out the last {count % devices} rows."
            )


def _devices_of_a_batch():
    """How many devices of this process share a batch under `keras.distribution`; 1 without it."""
    distribution = keras.distribution.distribution()
    if distribution is None or distribution.batch_dim_name is None:
        return 1
    mesh = distribution.device_mesh
    devices = mesh.shape[mesh.axis_names.index(distribution.batch_dim_name)]
    return max(1, devices // engine.processes())


def check_same(x, first, batch_size, epochs, options):
    """Raise ValueError unless all processes come to `fit` or `evaluate` with as much to do: others would wait."""
    if isinstance(x, Batches):
        if x.processes != engine.processes():
            raise ValueError(
                f"a flow expects batches of the {engine.processes()} processes that there are, received batches for "
                f"{x.processes}. Call flowkit.distributed.start() before flowkit.data.batches."
            )
        check_division(x.batch_size // x.processes, x.batch_size // x.processes)
    if engine.processes() == 1:
        return
    steps = options.get("steps_per_epoch") or options.get("steps")
    told = {
        "rows of a batch": 0 if first is None else len(first),
        "batches or rows in all": _length(x),
        "batch_size": batch_size or 0,
        "steps": steps or 0,
        "epochs": epochs,
        "epochs done": options.get("initial_epoch", 0),
        "steps of the epoch done": getattr(x, "step", 0),
        "rows to validate on": _length(options.get("validation_data")),
    }
    given = distributed.gather(np.array([list(told.values())], "int64"))
    for name, values in zip(told, given.T, strict=True):
        if (values != values[0]).any():
            raise ValueError(
                f"a flow expects the same of all {len(values)} processes, received {name} of "
                f"{', '.join(map(str, values))}. Give each as many rows; a run that goes on must be in a folder that "
                "all of them see."
            )


def check_same_question(told):
    """Raise ValueError in all processes unless all have come with the same, {name: a tree of numbers and arrays}."""
    if engine.processes() == 1:
        return
    sums = [zlib.crc32(_in_bytes(value)) for value in told.values()]
    given = distributed.gather(np.array([sums], "int64"))
    differing = [name for name, values in zip(told, given.T, strict=True) if (values != values[0]).any()]
    if differing:
        raise ValueError(
            f"what is spread over processes expects the same of all {len(given)}, received another "
            f"{' and another '.join(differing)} in some of them. Give all the same, or leave out spread=True where "
            "each asks for itself."
        )


def _in_bytes(value):
    arrays = [np.asarray(part) for part in tree.flatten(value) if part is not None]
    return b"".join(repr((array.shape, array.dtype)).encode() + array.tobytes() for array in arrays)


def _length(x):
    arrays = (
        [part for part in tree.flatten(x) if part is not None] if isinstance(x, dict | tuple | list) else [x]
    )
    try:
        return len(arrays[0])
    except (TypeError, IndexError):  # a generator does not say
        return 0


@contextlib.contextmanager
def together(flow):
    """A scope in which processes train one model: it begins with the weights of process 0.

    Their noise differs. A process that ends is named.
    """
    if engine.processes() == 1:
        yield
        return
    with naming_the_lost():
        # From Keras 3.16 on, on PyTorch: it copies weights then, and seeds with them.
        if hasattr(flow, "ddp_model"):
            flow.make_train_function()
        variables = [*flow.variables, *(flow.optimizer.variables if flow.optimizer else [])]
        engine.copy_from_main(variables)
        states = [variable for variable in flow.variables if variable.name.endswith("seed_generator_state")]
        with engine.drawing_apart(states):
            yield


def rows_of_all(x, context):
    """The rows that all processes adapt to, in the order of their ranks."""
    if engine.processes() == 1 or x is None:
        return x, context
    return distributed.gather(x), None if context is None else tree.map_structure(distributed.gather, context)
