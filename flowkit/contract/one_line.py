"""Show an object as the call that would make it, in one line."""

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from flowkit.contract.arguments import Passed

_DEEP = 4  # calls within calls
_FEW = 3  # layers of a list; of numbers twice as many
_LEFT_OUT = {"self", "name", "dtype", "trainable"}
_PLAIN = (bool, int, float, str)
_NOTHING = object()
_EMPTY = inspect.Parameter.empty
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


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
    values = dict(arguments_of(thing))
    shown, bare = [], True
    for parameter in _parameters(type(thing)):
        value = values.get(parameter.name, _NOTHING)
        if value is _NOTHING or _is_default(value, parameter.default):
            bare = False
            continue
        bare = bare and parameter.kind is not inspect.Parameter.KEYWORD_ONLY
        text = argument(value, deep - 1)
        shown.append(text if bare else f"{parameter.name}={text}")
    return f"{name}({', '.join(shown)})"


def arguments_of(thing: Any) -> Iterator[tuple[str, Any]]:
    """Yield (name, value) of each argument that `thing` was made with, or would be made with again.

    Each is the attribute of its name, or of the name that the class's `_kept_as` gives it. It is what was passed if
    there is no such attribute, if that is a weight, or if a number or a word was passed and it is something else.
    What a subclass passes to its base by itself is left out.
    """
    passed = getattr(thing, "_passed", None) or Passed()  # by `flowkit.contract.arguments.checked`
    for name in (parameter.name for parameter in _parameters(type(thing))):
        value = passed.arguments.get(name, _NOTHING)
        kept = _attribute(thing, getattr(type(thing), "_kept_as", {}).get(name, name))
        made = isinstance(value, _PLAIN) and not isinstance(kept, _PLAIN)
        if not (kept is _NOTHING or made or isinstance(kept, keras.Variable)):
            value = kept
        if value is not _NOTHING and name not in passed.pinned:
            yield name, value


def _parameters(kind):
    """Return the arguments of a class, and those of its bases that it hands on by `**kwargs`, once each.

    What a base needs, a class that does not name it passes itself.
    """
    found: dict[str, inspect.Parameter] = {}
    own = True
    for base in kind.__mro__:
        if base in (keras.Layer, keras.Model, keras.optimizers.Optimizer, object):
            break
        if "__init__" in vars(base):
            parameters = inspect.signature(base.__init__).parameters.values()
            for p in parameters:
                if p.name not in _LEFT_OUT and p.kind in _NAMED and (own or p.default is not _EMPTY):
                    found.setdefault(p.name, p)
            own = False
            if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
                break
    return found.values()


def _attribute(thing, name):
    try:
        return getattr(thing, name, _NOTHING)
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
    """Return a value as one of the arguments of such a call."""
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
