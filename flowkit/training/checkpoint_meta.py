"""What a checkpoint says of itself: where training stood, and what it ran on."""

import warnings
from typing import Any

import keras

from flowkit.engines import engine
from flowkit.training.errors import CheckpointError

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

# What callbacks remember between epochs. A list of names, since the rest is not state: the sign of
# `min_delta`, for one, is flipped once in each process.
CALLBACK_STATE = ("best", "wait", "cooldown_counter", "stopped_epoch", "best_epoch")

Meta = dict[str, Any]
Callbacks = list[keras.callbacks.Callback]


def describe(epochs: int, step: int, data_seed: int | None, data: str | None, callbacks: Callbacks) -> Meta:
    """The description of a checkpoint written here and now, as JSON takes it."""
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


def check_complete(meta: Meta) -> None:
    """Raise a ValueError if the description is none."""
    if not isinstance(meta, dict):
        raise ValueError("its meta is not a table")
    for key, kind in _KEYS.items():
        if not isinstance(meta.get(key, ...), kind):
            raise ValueError(
                f"its meta has no {key}" if key not in meta else f"its meta has the {key} {meta[key]!r}"
            )
    step, within = meta.get("step", 0), meta.get("within")
    memories = [
        isinstance(memory, dict) and {"class", "values"} <= memory.keys() for memory in meta["callbacks"]
    ]
    if not isinstance(step, int) or (step and not isinstance(within, dict)) or not all(memories):
        raise ValueError("its meta is incomplete")


def check_origin(
    name: str, meta: Meta, data_seed: int | None, data: str | None, callbacks: Callbacks
) -> None:
    """Raise a CheckpointError if file `name` cannot be gone on from here, and warn if not bit for bit."""
    if meta["format"] != FORMAT:
        raise CheckpointError(f"{name} has format {meta['format']}: expected {FORMAT}")
    if meta["engine"] != engine.name:
        raise CheckpointError(
            f"{name} was written by {meta['engine']}, this session runs {engine.name}: "
            f"an exact continuation needs KERAS_BACKEND={meta['engine']}"
        )
    if meta["data_seed"] != data_seed:
        raise CheckpointError(f"{name} was written with data seed {meta['data_seed']}: received {data_seed}")
    then = meta.get("data")  # None in files of versions that did not look
    if None not in (then, data) and then != data:
        raise CheckpointError(
            f"{name} was written in training on other data: expected the same rows in the same order. Bring them back, "
            "or train anew in another folder"
        )
    expected = [type(callback).__name__ for callback in callbacks]
    received = [memory["class"] for memory in meta["callbacks"]]
    if received != expected:
        raise CheckpointError(f"{name} holds the state of the callbacks {received}: expected {expected}")
    versions = {"keras": keras.__version__, engine.name: engine.version()}
    then = {"keras": meta["keras_version"], meta["engine"]: meta["engine_version"]}
    if versions != then:
        warnings.warn(
            f"{name} was written with {_listed(then)}, this session has {_listed(versions)}: "
            "training goes on, but perhaps not bit for bit",
            stacklevel=4,
        )


def remind(callbacks: Callbacks, meta: Meta) -> None:
    """Give each of `callbacks` back what it remembered."""
    for callback, memory in zip(callbacks, meta["callbacks"], strict=True):
        vars(callback).update(memory["values"])


def _memory(callback):
    state = {key: vars(callback)[key] for key in CALLBACK_STATE if key in vars(callback)}
    return {key: value.item() if hasattr(value, "item") else value for key, value in state.items()}


def _listed(versions):
    return ", ".join(f"{name} {version}" for name, version in versions.items())
