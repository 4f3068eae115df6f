"""Check, show and save objects by the arguments of their `__init__`."""

import inspect
import types
from collections.abc import Iterator
from typing import Any, Self

import keras

from flowkit._printable import printable
from flowkit.contract.arguments import checked

_DEEP = 4  # calls within calls
_FEW = 3  # layers of a list; of numbers twice as many
_OF_KERAS = {"self", "name", "dtype", "trainable"}  # arguments that Keras's own config has, and none
_PLAIN = (bool, int, float, str)
_POSITIONAL, _KEYWORD = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
NOTHING = inspect.Parameter.empty


class Configured:
    """A class whose checks, `repr`, `get_config` and `from_config` follow from its signature.

    Each argument is kept as an attribute of its name; if the attribute changes, so does the config. Arguments of a base
    class count if they were passed on from the caller. The rules that annotations declare, see
    `flowkit.contract.arguments`, are applied before `__init__` runs, so that this receives values of the right type.

    >>> from flowkit.contract.arguments import Positive
    >>> class Spring(Configured):
    ...     def __init__(self, strength: Positive = 1.0) -> None:
    ...         self.strength = strength
    >>> Spring(2), Spring(2).get_config(), Spring.from_config({"strength": 3.0})
    (Spring(2.0), {'strength': 2.0}, Spring(3.0))
    >>> Spring(-1)
    Traceback (most recent call last):
    ValueError: Spring's strength: got -1, expected a finite number above 0.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in vars(cls):
            cls.__init__ = checked(vars(cls)["__init__"], keep=_keep)  # type: ignore[method-assign]

    def __repr__(self):
        return one_line(self)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments as a file can hold them; for a layer, those of Keras too."""
        kept: dict[str, Any] = getattr(super(), "get_config", dict)()
        known = {argument.name: value for argument, value in arguments_of(self) if value is not NOTHING}
        return {**kept, **{name: stored(value) for name, value in known.items()}}

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


def restored(value: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """Return the argument that `stored` returned as `value`."""
    if isinstance(value, list | tuple):
        return type(value)(restored(entry, custom_objects) for entry in value)
    if isinstance(value, dict) and "class_name" in value:
        return keras.saving.deserialize_keras_object(value, custom_objects)
    return value


def engine_neutral(config):
    """Return `config` with every class of an engine's own optimizers by its public name, at any depth.

    On torch Keras makes `keras.optimizers.Adam` an instance of a class that only exists if torch is
    installed, and stores that class: such a file would load nowhere else.
    """
    if isinstance(config, list):
        return [engine_neutral(item) for item in config]
    if not isinstance(config, dict):
        return config
    config = {key: engine_neutral(value) for key, value in config.items()}
    if str(config.get("module", "")).startswith("keras.src.backend."):
        config |= {"module": "keras.optimizers", "registered_name": None}
    return config


# What an object was made with


def _keep(thing: Any, passed: dict[str, Any]) -> None:
    """Keep what was passed to the `__init__` of an object's own class, which runs before those of its bases."""
    # Beside Keras, which would track the layers among them, and search a dict for layers to save.
    vars(thing).setdefault("_made_with", {k: v for k, v in passed.items() if k not in _OF_KERAS})


def add_argument(thing: Any, name: str, value: Any) -> None:
    """Set an attribute that counts as an argument, also if the class leaves that to its base."""
    setattr(thing, name, value)
    vars(thing).get("_made_with", {})[name] = value


def arguments_of(thing: Any) -> Iterator[tuple[inspect.Parameter, Any]]:
    """Yield each argument that `thing` was made with, and its value: `NOTHING` if it is not known.

    The value is the attribute of its name, or of the name that the class's `_kept_as` gives it. It is what was passed
    if there is no such attribute, if that is a weight, or if a number or a word was passed and it is something else.
    """
    made, own = vars(thing).get("_made_with"), inspect.signature(type(thing).__init__).parameters
    known = [p for name, p in own.items() if p.kind in (_POSITIONAL, _KEYWORD) and name not in _OF_KERAS]
    known += [inspect.Parameter(name, _KEYWORD) for name in made or () if name not in own]
    for argument in known:
        name, value = argument.name, NOTHING if made is None else made.get(argument.name, argument.default)
        try:
            kept = getattr(thing, getattr(type(thing), "_kept_as", {}).get(name, name), NOTHING)
        except Exception:  # a property of a layer that is not made yet
            kept = NOTHING
        made_of = isinstance(value, _PLAIN) and not isinstance(kept, _PLAIN)
        yield argument, value if kept is NOTHING or made_of or isinstance(kept, keras.Variable) else kept


# An object in one line


def one_line(thing: Any, deep: int = _DEEP) -> str:
    """Return `Class(argument, name=argument)`, without arguments at their defaults.

    Of a long list the first few are shown, and dots in place of what is deeper than four calls. It never raises: errors
    show objects by it.

    >>> from flowkit.bijectors import Chain, Shift
    >>> one_line(Chain([Shift(float(i)) for i in range(5)], backprop="recompute"))
    "Chain([Shift(0.0), Shift(1.0), Shift(2.0), ... 2 more], backprop='recompute')"
    """
    name = type(thing).__name__
    if deep == 0:
        return f"{name}(...)"
    shown, bare = [], True
    for argument, value in arguments_of(thing):
        if value is NOTHING or _is_default(value, argument.default):
            bare = False
            continue
        bare = bare and argument.kind is _POSITIONAL
        text = in_call(value, deep - 1)
        shown.append(text if bare else f"{argument.name}={text}")
    return printable(f"{name}({', '.join(shown)})", most=None)


def _is_default(value, default):
    if value is default:
        return True
    if callable(value) and isinstance(default, str):
        return getattr(value, "__name__", None) == default
    if isinstance(value, list | tuple) and isinstance(default, list | tuple):
        return list(value) == list(default)
    return isinstance(value, _PLAIN) and value == default


def in_call(value: Any, deep: int = _DEEP) -> str:
    """Return a value as one of the arguments of such a call."""
    if isinstance(value, Configured) or getattr(type(value), "__repr__", None) is one_line:
        return one_line(value, deep)
    if hasattr(value, "__fspath__"):
        return repr(value.__fspath__())
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        most = 2 * _FEW if all(isinstance(entry, _PLAIN) for entry in value) else _FEW
        most = len(value) if len(value) <= most + 1 else most  # dots would take as much room
        shown = [in_call(entry, deep) for entry in value[:most]]
        return f"[{', '.join([*shown, *([f'... {len(value) - most} more'] if len(value) > most else [])])}]"
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"<{'x'.join(map(str, value.shape)) or 'number'} {value.dtype}>"
    if isinstance(value, keras.Layer) and type(value).__repr__ is keras.Layer.__repr__:
        return f"{type(value).__name__}({value.name!r})"
    name = getattr(value, "__name__", None)
    if isinstance(name, str) and getattr(keras.activations, name, None) is value:
        return repr(name)
    text = repr(value)
    if isinstance(value, str) or (" at 0x" not in text and len(text) <= 80):
        return text
    return name or f"{type(value).__name__}(...)"
