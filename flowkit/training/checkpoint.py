"""A checkpoint: all that a training knows, as named arrays and a description, in one .npz file with a checksum."""

import functools
import hashlib
import json
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from flowkit.engines import engine
from flowkit.training.atomic import atomic_path

FORMAT = 1
_KEYS = {
    "format": int,
    "engine": str,
    "engine_version": str,
    "keras_version": str,
    "epoch": int,
    "data_seed": int | None,
    "callbacks": list,
}
# What callbacks remember between epochs. A list of names, since other attributes are not state: the sign of
# `min_delta`, for one, is flipped once in each process.
_MEMORY = ("best", "wait", "cooldown_counter", "stopped_epoch", "best_epoch")

_COUNTER = re.compile(r"_\d+(?=[_/]|$)")  # of a layer's name

Arrays = dict[str, np.ndarray]
Meta = dict[str, Any]
Callbacks = list[keras.callbacks.Callback]


class CheckpointError(ValueError):
    """A checkpoint that cannot be used: damaged, or of another model or engine."""


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
    text = json.dumps(meta)
    with atomic_path(path, keep=keep) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays, meta=np.array(text), checksum=np.array(_checksum(arrays, text)))


def read(path: Path) -> tuple[Arrays, Meta]:
    """Return the arrays and the description. Raises ValueError with one line if the file is not as it was written."""
    try:
        return _read(path)
    except Exception as error:
        # zipfile, zlib and NumPy, which parses a header as Python, each fail in ways of their own.
        lines = (getattr(error, "strerror", None) or str(error)).splitlines() or [type(error).__name__]
        raise ValueError(lines[0]) from error


def _read(path):
    with open(path, "rb") as file:
        if not zipfile.is_zipfile(file):  # np.load would take it for a pickle, and print how to open that
            raise ValueError("it is not a whole .npz file")
    with np.load(path, allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    missing = [key for key in ("meta", "checksum") if key not in arrays]
    if missing:
        raise ValueError(f"it has no {' and no '.join(missing)}")
    if not all(isinstance(array, np.ndarray) for array in arrays.values()):
        raise ValueError("it holds what is no array")
    text, checksum = str(arrays.pop("meta")), str(arrays.pop("checksum"))
    if _checksum(arrays, text) != checksum:
        raise ValueError("its checksum does not match its contents")
    meta = json.loads(text)
    _check_complete(meta)
    return arrays, meta


def _checksum(arrays, text):
    digest = hashlib.sha256(text.encode())
    for key in sorted(arrays):
        digest.update(f"{key} {arrays[key].dtype} {arrays[key].shape}".encode())
        digest.update(np.ascontiguousarray(arrays[key]))
    return digest.hexdigest()


def newest_whole(path: Path) -> tuple[Arrays, Meta] | None:
    """Read the checkpoint at `path`, or with a warning the one before if it is damaged.

    Returns None if there is neither; raises CheckpointError if both are damaged.
    """
    reasons = []
    for file in filter(Path.exists, (path, previous(path))):
        try:
            found = read(file)
        except ValueError as damage:
            reasons.append(f"{file.name}: {damage}")
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
        "engine": engine.name,
        "engine_version": engine.version(),
        "keras_version": keras.__version__,
        "epoch": epochs,
        "step": step,
        "data_seed": data_seed,
        "data": data,
        "callbacks": [
            {"class": type(callback).__name__, "values": _memory(callback)} for callback in callbacks
        ],
    }


def _memory(callback):
    state = {key: vars(callback)[key] for key in _MEMORY if key in vars(callback)}
    return {key: value.item() if hasattr(value, "item") else value for key, value in state.items()}


def _check_complete(meta):
    if not isinstance(meta, dict):
        raise ValueError("its meta is not a table")
    for key, kind in _KEYS.items():
        if not isinstance(meta.get(key, ...), kind):
            raise ValueError(
                f"its meta has the {key} {meta[key]!r}" if key in meta else f"its meta has no {key}"
            )
    step = meta.get("step", 0)
    memories = all(isinstance(one, dict) and {"class", "values"} <= one.keys() for one in meta["callbacks"])
    if not isinstance(step, int) or (step and not isinstance(meta.get("within"), dict)) or not memories:
        raise ValueError("its meta is incomplete")


def check_origin(
    name: str, meta: Meta, data_seed: int | None, data: str | None, callbacks: Callbacks
) -> None:
    """Raise CheckpointError if training cannot go on from file `name`, and warn if not bit for bit."""
    if meta["format"] != FORMAT:
        raise CheckpointError(f"{name} has format {meta['format']}: expected {FORMAT}")
    if meta["engine"] != engine.name:
        raise CheckpointError(
            f"{name} was written by {meta['engine']}, this session runs {engine.name}: an exact continuation needs "
            f"KERAS_BACKEND={meta['engine']}"
        )
    if meta["data_seed"] != data_seed:
        raise CheckpointError(f"{name} was written with data seed {meta['data_seed']}: received {data_seed}")
    if None not in (meta.get("data"), data) and meta["data"] != data:
        raise CheckpointError(
            f"{name} was written in training on other data: expected the same rows in the same order. Bring them back, "
            "or train anew in another folder"
        )
    expected = [type(callback).__name__ for callback in callbacks]
    received = [memory["class"] for memory in meta["callbacks"]]
    if received != expected:
        raise CheckpointError(f"{name} holds the state of the callbacks {received}: expected {expected}")
    then = f"keras {meta['keras_version']}, {meta['engine']} {meta['engine_version']}"
    now = f"keras {keras.__version__}, {engine.name} {engine.version()}"
    if then != now:
        warnings.warn(
            f"{name} was written with {then}, this session has {now}: training goes on, but perhaps not bit for bit",
            stacklevel=4,
        )


def remind(callbacks: Callbacks, meta: Meta) -> None:
    """Set what each of `callbacks` remembered."""
    for callback, memory in zip(callbacks, meta["callbacks"], strict=True):
        vars(callback).update(memory["values"])


# The arrays


def named_variables(model: keras.Model) -> dict[str, keras.Variable]:
    """Return the variables of a compiled model and its optimizer by position and path.

    Paths have no counters, as in `dense_3`, which differ by session.
    """
    optimizer = model.optimizer
    if optimizer is None:
        raise CheckpointError("the model has no optimizer: compile it before resuming")
    if not optimizer.built:
        optimizer.build(model.trainable_variables)
    return _named("model", model.variables) | _named("optimizer", optimizer.variables)


def named_metrics(model: keras.Model) -> dict[str, keras.Variable]:
    """Return the running means of a model, which Keras resets in each epoch, by position and path."""
    return _named("metric", model.metrics_variables)


def _named(owner, variables):
    return {f"{owner}/{i:05d}/{_COUNTER.sub('', one.path)}": one for i, one in enumerate(variables)}


def state(model: keras.Model) -> Arrays:
    """Return all variables of a compiled model and its optimizer as arrays."""
    return {
        key: _storable(ops.convert_to_numpy(variable)) for key, variable in named_variables(model).items()
    }


def metrics_state(model: keras.Model) -> Arrays:
    """Return the running means as arrays, those of the rows of all processes of a group; all of them call it."""
    variables = named_metrics(model)
    sums = engine.summed([variable.value for variable in variables.values()])
    return {key: _storable(ops.convert_to_numpy(value)) for key, value in zip(variables, sums, strict=True)}


def best_state(callbacks: Callbacks) -> Arrays:
    """Return the best weights that callbacks hold, as Keras's `EarlyStopping` does, as arrays."""
    return {
        f"best/{number}/{position:05d}": _storable(weight)
        for number, callback in enumerate(callbacks)
        for position, weight in enumerate(getattr(callback, "best_weights", None) or [])
    }


def split_off(arrays: Arrays, owner: str) -> tuple[Arrays, Arrays]:
    """Return (other arrays, those of `owner`: "metric" or "best")."""
    its_own = {key: array for key, array in arrays.items() if key.startswith(f"{owner}/")}
    return {key: array for key, array in arrays.items() if key not in its_own}, its_own


def assign(arrays: Arrays, variables: dict[str, keras.Variable]) -> None:
    """Assign each variable its array, bit for bit. Call `check_match` before."""
    for key, variable in variables.items():
        variable.assign(arrays[key].view(_kept(variable.dtype)))


def assign_metrics(arrays: Arrays, variables: dict[str, keras.Variable]) -> None:
    """Assign the running means of `metrics_state`; in a group the main process keeps them for all."""
    assign(arrays, variables)
    engine.left_to_main(variables.values())


def assign_best(arrays: Arrays, callbacks: Callbacks, model: keras.Model) -> None:
    """Give each callback its best weights of `best_state`, None if it held none."""
    dtypes = [_kept(variable.dtype) for variable in model.weights]
    for number, callback in enumerate(callbacks):
        keys = sorted(key for key in arrays if key.startswith(f"best/{number}/"))
        if hasattr(callback, "best_weights"):
            held = [arrays[key].view(dtype) for key, dtype in zip(keys, dtypes, strict=False)]
            callback.best_weights = held or None


def check_match(name: str, arrays: Arrays, variables: dict[str, keras.Variable]) -> None:
    """Raise CheckpointError with what differs between the arrays of file `name` and the variables."""
    received = {key: f"{array.dtype} {array.shape}" for key, array in arrays.items()}
    expected = {
        key: f"{_plain(_kept(variable.dtype))} {tuple(variable.shape)}" for key, variable in variables.items()
    }
    differing = [key for key in sorted(expected | received) if expected.get(key) != received.get(key)]
    if not differing:
        return
    shown = "; ".join(
        f"{key}: expected {expected.get(key, 'nothing')}, received {received.get(key, 'nothing')}"
        for key in differing[:3]
    )
    more = f" (and {len(differing) - 3} more)" if len(differing) > 3 else ""
    raise CheckpointError(f"{name} belongs to another model or optimizer: {shown}{more}")


def _storable(array):
    """Return `array` in a dtype that the file has a name for, bit for bit."""
    return np.ascontiguousarray(array).view(_plain(array.dtype)).reshape(array.shape)


def _plain(dtype):
    # NumPy's format has no name for bfloat16: its bits are stored as integers of the same size.
    return dtype if dtype.kind in "biuf" else np.dtype(f"uint{8 * dtype.itemsize}")


@functools.cache
def _kept(dtype):
    """Return the NumPy dtype that the engine keeps for a dtype's name.

    JAX keeps an int32 for "int64", PyTorch an int64 for "uint32". The value of a variable may be lost: it is not read.
    """
    with warnings.catch_warnings(action="ignore"):  # as JAX has said before
        # An array of one entry: NumPy cannot read a scalar bfloat16 of TensorFlow's.
        return ops.convert_to_numpy(ops.zeros((1,), dtype)).dtype
