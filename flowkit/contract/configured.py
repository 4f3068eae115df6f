"""Base class of objects that are checked, shown and saved by the arguments of their `__init__`."""

import types
from typing import Any, Self

import keras

from flowkit.contract.arguments import checked
from flowkit.contract.one_line import arguments_of, one_line


class Configured:
    """A class whose checks, `repr`, `get_config` and `from_config` follow from its signature.

    Each argument is kept as an attribute of its name; if the attribute changes, so does the config. An argument that a
    subclass passes to its base by itself is left out. The rules that annotations declare, see
    `flowkit.contract.arguments`, are applied before `__init__` runs, so that this receives values of the right type.

    >>> from flowkit.contract.arguments import Positive
    >>> class Spring(Configured):
    ...     def __init__(self, strength: Positive = 1.0) -> None:
    ...         self.strength = strength
    >>> Spring(2), Spring(2).get_config(), Spring.from_config({"strength": 3.0})
    (Spring(2.0), {'strength': 2.0}, Spring(3.0))
    >>> Spring(-1)
    Traceback (most recent call last):
    ValueError: Spring's strength: expected a finite number above 0, received -1.
    """

    __repr__ = one_line

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in vars(cls):
            cls.__init__ = checked(vars(cls)["__init__"], keep=True)  # type: ignore[method-assign]

    def get_config(self) -> dict[str, Any]:
        """Return the arguments as a file can hold them; for a layer, those of Keras too."""
        kept: dict[str, Any] = getattr(super(), "get_config", dict)()
        return {**kept, **{name: stored(value) for name, value in arguments_of(self)}}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return an object with the arguments that `get_config` returned."""
        return cls(**{name: restored(value) for name, value in config.items()})


def stored(value: Any) -> Any:
    """Return an argument as a file can hold it."""
    if isinstance(value, list | tuple):  # Keras has a list of its own
        entries = [stored(entry) for entry in value]
        return tuple(entries) if isinstance(value, tuple) else entries
    if hasattr(value, "tolist"):  # an array, or a number out of one
        return value.tolist()
    if isinstance(value, types.FunctionType):
        return keras.activations.serialize(value)
    return keras.saving.serialize_keras_object(value) if hasattr(value, "get_config") else value


def restored(value: Any) -> Any:
    """Return the argument that `stored` returned as `value`."""
    if isinstance(value, list | tuple):
        return type(value)(restored(entry) for entry in value)
    if isinstance(value, dict) and "class_name" in value:
        return keras.saving.deserialize_keras_object(value)
    return value
