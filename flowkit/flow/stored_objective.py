"""The objective of a saved flow: the flow is not lost because of one that no file can hold."""

import warnings

import keras

from flowkit.objectives import MaximumLikelihood, Objective

_ADVICE = (
    "Register what it is made of with @keras.saving.register_keras_serializable() before saving and before loading, "
    "or call compile(optimizer, loss=...) on the loaded flow."
)


def stored(objective):
    """What the `compile` config says of an objective; nothing of the default. Warns if it cannot be restored."""
    if type(objective) is MaximumLikelihood:
        return {}
    if isinstance(objective, Unrestored):
        return {"objective": objective.config}
    config = {"class_name": type(objective).__name__}
    try:
        config = keras.saving.serialize_keras_object(objective)
        keras.saving.deserialize_keras_object(config)
    except Exception as error:  # of code that is not ours; the flow is what matters
        warnings.warn(
            f"{type(objective).__name__} is saved by name alone, the flow itself in full: {_first_line(error)}. "
            f"{_ADVICE}",
            stacklevel=2,
        )
    return {"objective": config}


def restored(config):
    """The objective of a `compile` config: one that raises when it is trained on, if it cannot be restored."""
    stored = config.get("objective")
    if stored is None:
        return MaximumLikelihood()
    try:
        objective = keras.saving.deserialize_keras_object(stored)
    except Exception as error:
        return Unrestored(stored, _first_line(error))
    return (
        objective if isinstance(objective, Objective) else Unrestored(stored, "the file has its name alone")
    )


class Unrestored(Objective):
    """In the place of an objective that a file could not bring back. Kept as it was if the flow is saved again."""

    needs_data = False

    def __init__(self, config, reason):
        self.config, self.reason = config, reason

    def check(self, flow):
        raise ValueError(
            f"fit expects the objective that this flow was saved with, {self.config.get('class_name')}, which could "
            f"not be restored: {self.reason}. {_ADVICE}"
        )


def _first_line(error):
    return str(error).strip().split("\n")[0].rstrip(".")
