"""A checkpoint: all that a training knows, as named arrays and a description, in one .npz file."""

import json
import re
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from flowkit.engines import engine, plain_array
from flowkit.training.atomic import atomic_path

FORMAT = 4
# What callbacks remember between epochs. A list of names, since other attributes are not state: the sign of
# `min_delta`, for one, is flipped once in each process.
_MEMORY = ("best", "wait", "cooldown_counter", "stopped_epoch", "best_epoch")

_COUNTER = re.compile(r"_\d+(?=[_/]|$)")  # of a layer's name

Arrays = dict[str, np.ndarray]
Variables = dict[str, keras.Variable]
Meta = dict[str, Any]
Callbacks = list[keras.callbacks.Callback]


class CheckpointError(ValueError):
    """A checkpoint that cannot be used: damaged, or of another model or backend."""


def place(epochs: int, step: int) -> str:
    """Return where training stands, in words.

    >>> place(2, 0), place(2, 7)
    ('after epoch 2', 'after step 7 of epoch 3')
    """
    return f"after step {step} of epoch {epochs + 1}" if step else f"after epoch {epochs}"


# The file


def previous(path: Path) -> Path:
    """Return the name that the checkpoint at `path` gets when the next one is written."""
    return path.with_name(f"{path.stem}.previous.npz")


def write(path: Path, arrays: Arrays, meta: Meta, *, keep: Path | None) -> None:
    """Write named arrays and a description in a single step; rename the file before to `keep`."""
    with atomic_path(path, keep=keep) as temporary, open(temporary, "wb") as file:
        text = json.dumps(meta, default=lambda number: number.item())  # of numpy
        np.savez(file, **arrays, meta=np.array(text))


def read(path: Path) -> tuple[Arrays, Meta]:
    """Return the arrays, each of which has its sum in the file, and the description."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    return arrays, json.loads(str(arrays.pop("meta")))


def newest_whole(path: Path) -> tuple[Arrays, Meta] | None:
    """Read the checkpoint at `path`, or with a warning the one before if it is damaged.

    Returns None if there is neither; raises CheckpointError if both are damaged.
    """
    reasons = []
    for file in filter(Path.exists, (path, previous(path))):
        try:
            found = read(file)
        except Exception as damage:  # of zipfile, zlib, and NumPy, which parses a header as Python
            reasons.append(f"{file.name}: {(str(damage) or type(damage).__name__).splitlines()[0]}")
            continue
        if reasons:
            warnings.warn(
                f"{reasons[0]}: the checkpoint is damaged, going on from {file.name}, the one before",
                stacklevel=3,
            )
        return found
    if reasons:
        raise CheckpointError(
            f"no checkpoint can be read ({'; '.join(reasons)}): remove them to start afresh"
        )
    return None


# The description


def describe(epochs: int, step: int, data_seed: int | None, data: str | None, callbacks: Callbacks) -> Meta:
    """Describe a checkpoint that is written here and now, as JSON takes it."""
    return {
        "format": FORMAT,
        "backend": engine.name,
        "versions": f"keras {keras.__version__}, {engine.name} {engine.version()}",
        "epoch": epochs,
        "step": step,
        "data seed": data_seed,
        "rows with fingerprint": data,
        "callbacks": [type(callback).__name__ for callback in callbacks],
        "memory": [_remembered(vars(callback)) for callback in callbacks],
    }


def _remembered(attributes):
    return {key: attributes[key] for key in _MEMORY if key in attributes}


def check_origin(name: str, meta: Meta, here: Meta) -> None:
    """Raise CheckpointError if training `here` cannot go on from file `name`, and warn if not bit for bit."""
    for key in ("format", "backend", "data seed", "rows with fingerprint", "callbacks"):
        then, now = meta.get(key), here[key]
        if then != now and not (key == "rows with fingerprint" and None in (then, now)):
            how = f" with KERAS_BACKEND={then} (--backend {then})" if key == "backend" else ""
            raise CheckpointError(
                f"{name}: got {key} {then}, expected {now}. Train as before{how}, or anew in another folder."
            )
    if meta["versions"] != here["versions"]:
        warnings.warn(
            f"{name} was written with {meta['versions']}, this session has {here['versions']}: training goes on, but "
            "perhaps not bit for bit",
            stacklevel=4,
        )


def remind(callbacks: Callbacks, arrays: Arrays, meta: Meta) -> None:
    """Set what each of `callbacks` remembered, and its best weights, None if it held none."""
    for number, (callback, memory) in enumerate(zip(callbacks, meta["memory"], strict=True)):
        vars(callback).update(_remembered(memory))
        if hasattr(callback, "best_weights"):
            keys = sorted(key for key in arrays if key.startswith(f"best/{number}/"))
            callback.best_weights = [arrays[key] for key in keys] or None


# The arrays


def variables(model: keras.Model) -> Variables:
    """Return the variables of a compiled model and its optimizer by position, path and type.

    Paths have no counters, as in `dense_3`, which differ by session.
    """
    optimizer = model.optimizer
    if optimizer is None:
        raise CheckpointError("the model has no optimizer: compile it before resuming")
    if not model.built:
        raise CheckpointError("the model is not built: call adapt() or build() before resuming")
    if not optimizer.built:
        with engine.replicas_of(model):
            optimizer.build(model.trainable_variables)
    return _named("model", model.variables) | _named("optimizer", optimizer.variables)


def metrics(model: keras.Model) -> Variables:
    """Return the running means of a model, which Keras resets in each epoch, by position, path and type."""
    return _named("metric", model.metrics_variables)


def _named(owner, variables):
    return {
        f"{owner}/{i:05d}/{_COUNTER.sub('', one.path)} {one.dtype}": one for i, one in enumerate(variables)
    }


def state(model: keras.Model, callbacks: Callbacks) -> Arrays:
    """Return all variables of a compiled model and its optimizer, and the best weights that callbacks hold."""
    arrays = {key: ops.convert_to_numpy(variable) for key, variable in variables(model).items()}
    for number, callback in enumerate(callbacks):
        for position, weight in enumerate(getattr(callback, "best_weights", None) or []):
            arrays[f"best/{number}/{position:05d}"] = weight
    return {key: plain_array(array, key) for key, array in arrays.items()}


def means(model: keras.Model) -> Arrays:
    """Return the running means, those of the rows of all processes of a group; all of them call it."""
    named = metrics(model)
    sums = engine.summed([variable.value for variable in named.values()])
    return {key: ops.convert_to_numpy(value) for key, value in zip(named, sums, strict=True)}


def assign(name: str, arrays: Arrays, variables: Variables) -> None:
    """Assign each variable its array of file `name`, bit for bit; other owners' arrays are left out.

    Raises CheckpointError with what differs, before anything is assigned.
    """
    owners = {key.partition("/")[0] for key in variables}
    received = {key: array.shape for key, array in arrays.items() if key.partition("/")[0] in owners}
    expected = {key: tuple(variable.shape) for key, variable in variables.items()}
    differing = [key for key in sorted(expected | received) if expected.get(key) != received.get(key)]
    if differing:
        shown = "; ".join(
            f"{key}: got {received.get(key, 'nothing')}, expected {expected.get(key, 'nothing')}"
            for key in differing[:3]
        )
        more = f" (and {len(differing) - 3} more)" if len(differing) > 3 else ""
        raise CheckpointError(f"{name} belongs to another model or optimizer: {shown}{more}")
    for key, variable in variables.items():
        variable.assign(arrays[key])


def assign_metrics(name: str, arrays: Arrays, model: keras.Model) -> None:
    """Assign the running means; in a group the main process keeps them for all."""
    named = metrics(model)
    assign(name, arrays, named)
    engine.left_to_main(named.values())
