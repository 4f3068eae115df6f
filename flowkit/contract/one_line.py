"""How an object is shown: as the call that would make it, in one line."""

import inspect
from collections.abc import Sequence
from typing import Any

import keras

_DEEP = 4  # calls within calls
_FEW = 3  # layers of a list; of numbers twice as many
_LEFT_OUT = {"self", "name", "dtype", "trainable"}
_NOTHING = object()


def one_line(thing: Any, deep: int = _DEEP) -> str:
    """`Class(argument, name=argument)`, without the arguments that are at their defaults.

    An argument is the attribute of its name, or of the name that the class's `_kept_as` gives it; one that has none is
    left out. Of a long list the first few are shown, and what lies deeper than four calls as dots. It never raises:
    errors show what they are about by it.

    >>> from flowkit.bijectors import Chain, Shift
    >>> one_line(Chain([Shift(float(i)) for i in range(5)], backprop="recompute"))
    "Chain([Shift(0.0), Shift(1.0), Shift(2.0), ... 2 more], backprop='recompute')"
    """
    name = type(thing).__name__
    if deep == 0:
        return f"{name}(...)"
    shown, bare = [], True
    for parameter in _parameters(type(thing)):
        value = _argument(thing, parameter.name)
        if value is _NOTHING or _is_default(value, parameter.default):
            bare = False
            continue
        bare = bare and parameter.kind is not inspect.Parameter.KEYWORD_ONLY
        text = argument(value, deep - 1)
        shown.append(text if bare else f"{parameter.name}={text}")
    return f"{name}({', '.join(shown)})"


def _parameters(kind):
    """The arguments of a class, and of those that it hands the rest on to, once each."""
    found: dict[str, inspect.Parameter] = {}
    for base in kind.__mro__:
        if base in (keras.Layer, keras.Model, keras.optimizers.Optimizer, object):
            break
        if "__init__" in vars(base):
            for name, parameter in inspect.signature(base.__init__).parameters.items():
                if name not in _LEFT_OUT and parameter.kind in (
                    inspect.Parameter.POSITIONAL_OR_KEYWORD,
                    inspect.Parameter.KEYWORD_ONLY,
                ):
                    found.setdefault(name, parameter)
    return found.values()


def _argument(thing, name):
    try:
        return getattr(thing, getattr(type(thing), "_kept_as", {}).get(name, name), _NOTHING)
    except Exception:  # a property of a layer that is not made yet
        return _NOTHING


def _is_default(value, default):
    if value is default:
        return True
    if callable(value) and isinstance(default, str):
        return getattr(value, "__name__", None) == default
    if isinstance(value, list | tuple) and isinstance(default, list | tuple):
        return list(value) == list(default)
    return isinstance(value, bool | int | float | str) and value == default


def argument(value: Any, deep: int = _DEEP) -> str:
    """A value as one of the arguments of such a call."""
    if getattr(type(value), "__repr__", None) is one_line:
        return one_line(value, deep)
    if value is ...:  # what an object could not read of itself
        return "..."
    if isinstance(value, str | bool | int | float):
        return repr(value)
    if hasattr(value, "__fspath__"):
        return repr(value.__fspath__())
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return _sequence(value, deep)
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"<{'x'.join(map(str, value.shape)) or 'number'} {value.dtype}>"
    if isinstance(value, keras.Layer) and type(value).__repr__ is keras.Layer.__repr__:
        return f"{type(value).__name__}({value.name!r})"
    name = getattr(value, "__name__", None)
    if isinstance(name, str) and getattr(keras.activations, name, None) is value:
        return repr(name)
    text = repr(value)
    if " at 0x" not in text and len(text) <= 80:
        return text
    return name or f"{type(value).__name__}(...)"


def _sequence(values: Sequence[Any], deep: int) -> str:
    most = 2 * _FEW if all(isinstance(value, int | float | str) for value in values) else _FEW
    if len(values) <= most + 1:  # dots would take as much room
        most = len(values)
    shown = [argument(value, deep) for value in values[:most]]
    if len(values) > most:
        shown.append(f"... {len(values) - most} more")
    return f"[{', '.join(shown)}]"
