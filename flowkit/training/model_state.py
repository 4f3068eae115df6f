"""All that a model and its optimizer know, as arrays with names, and back."""

import functools
import re
import warnings

import keras
import numpy as np
from keras import ops

from flowkit.engines import engine
from flowkit.training.checkpoint_file import plain_dtype, storable
from flowkit.training.errors import CheckpointError

Arrays = dict[str, np.ndarray]
Callbacks = list[keras.callbacks.Callback]


def state(model: keras.Model) -> Arrays:
    """Name -> array of all variables of `model` and its optimizer."""
    return {key: storable(ops.convert_to_numpy(variable)) for key, variable in named_variables(model).items()}


def metrics_state(model: keras.Model) -> Arrays:
    """The same of the running means, of the rows of all processes of a group: each of them calls it."""
    variables = named_metrics(model)
    sums = engine.summed([variable.value for variable in variables.values()])
    return {key: storable(ops.convert_to_numpy(value)) for key, value in zip(variables, sums, strict=True)}


def assign_metrics(arrays: Arrays, variables: dict[str, keras.Variable]) -> None:
    """Give each running mean of `named_metrics` its array of `metrics_state`; in a group the main process has them."""
    assign(arrays, variables)
    engine.left_to_main(variables.values())


def named_variables(model: keras.Model) -> dict[str, keras.Variable]:
    """Position and path -> variable. Without the counters in `dense_3`, which differ by session."""
    optimizer = model.optimizer
    if optimizer is None:
        raise CheckpointError("the model has no optimizer: compile it before resuming")
    if not optimizer.built:
        optimizer.build(model.trainable_variables)
    return _named("model", model.variables) | _named("optimizer", optimizer.variables)


def named_metrics(model: keras.Model) -> dict[str, keras.Variable]:
    """The same of the running means, which Keras begins anew with each epoch."""
    return _named("metric", model.metrics_variables)


def best_state(callbacks: Callbacks) -> Arrays:
    """Name -> array of the best weights that callbacks hold, as Keras's `EarlyStopping` does."""
    return {
        f"best/{number}/{position:05d}": storable(weight)
        for number, callback in enumerate(callbacks)
        for position, weight in enumerate(getattr(callback, "best_weights", None) or [])
    }


def assign_best(arrays: Arrays, callbacks: Callbacks, model: keras.Model) -> None:
    """Give each callback the best weights of `best_state` back; None if it held none."""
    dtypes = [_dtype(variable) for variable in model.weights]
    for number, callback in enumerate(callbacks):
        keys = sorted(key for key in arrays if key.startswith(f"best/{number}/"))
        if hasattr(callback, "best_weights"):
            held = [arrays[key].view(dtype) for key, dtype in zip(keys, dtypes, strict=False)]
            callback.best_weights = held or None


def split_off(arrays: Arrays, owner: str) -> tuple[Arrays, Arrays]:
    """(other arrays, those of `owner`: "metric" or "best")"""
    its_own = {key: array for key, array in arrays.items() if key.startswith(f"{owner}/")}
    return {key: array for key, array in arrays.items() if key not in its_own}, its_own


def assign(arrays: Arrays, variables: dict[str, keras.Variable]) -> None:
    """Give each variable its array, bit for bit; `check_match` comes first."""
    for key, variable in variables.items():
        variable.assign(arrays[key].view(_dtype(variable)))


def check_match(name: str, arrays: Arrays, variables: dict[str, keras.Variable]) -> None:
    """Raise a CheckpointError that names what differs between the arrays of file `name` and the variables."""
    received = {key: (arrays[key].shape, str(arrays[key].dtype)) for key in arrays}
    expected = {key: (tuple(v.shape), str(plain_dtype(_dtype(v)))) for key, v in variables.items()}
    differing = [
        key for key in sorted(expected.keys() | received.keys()) if expected.get(key) != received.get(key)
    ]
    if not differing:
        return
    shown = "; ".join(
        f"{key}: expected {_shown(expected.get(key))}, received {_shown(received.get(key))}"
        for key in differing[:3]
    )
    more = f" (and {len(differing) - 3} more)" if len(differing) > 3 else ""
    raise CheckpointError(f"{name} belongs to another model or optimizer: {shown}{more}")


def synchronise(model: keras.Model) -> None:
    """Bring the state into the model: between two steps, JAX holds it outside."""
    if hasattr(model, "jax_state_sync"):
        model.jax_state_sync()


def _named(owner, variables):
    named = {}
    for position, variable in enumerate(variables):
        path = re.sub(r"_\d+(?=[_/]|$)", "", variable.path)
        named[f"{owner}/{position:05d}/{path}"] = variable
    return named


def _shown(described):
    return "nothing" if described is None else f"{described[1]} {described[0]}"


def _dtype(variable):
    """NumPy's, of the name alone: the values may be lost, and would have to come from the device."""
    return _as_kept(variable.dtype)


@functools.cache
def _as_kept(dtype):
    # An engine may keep another one: JAX an int32 for "int64", PyTorch an int64 for "uint32". Of a row: NumPy cannot
    # read a single bfloat16 of TensorFlow's.
    with warnings.catch_warnings(action="ignore"):  # as JAX has said
        return ops.convert_to_numpy(ops.zeros((1,), dtype)).dtype
