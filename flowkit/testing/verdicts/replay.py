"""The line that repeats one failure, and what a drawn bijector was made from."""

import math
import sys
from dataclasses import dataclass, field

import hypothesis.strategies as st
import keras
import numpy as np

from flowkit import backends
from flowkit.contract import Bijector


@dataclass(frozen=True)
class Drawn:
    """A bijector, and what Hypothesis drew for it: layers and arrays as Keras stores them, all else as it is."""

    bijector: Bijector
    values: tuple = field(default=())


def recorded(make):
    """The strategy of `Drawn` bijectors for a strategy of bijectors or a function of a Hypothesis `draw`."""
    function = _function_of_draw(make)

    @st.composite
    def build(draw):
        values = []

        def noted(*args, **kwargs):
            value = draw(*args, **kwargs)
            values.append(_stored(value))  # before anybody changes it
            return value

        return Drawn(function(noted), tuple(values))

    return build()


def drawn_again(make, values):
    """The bijector that `make` makes if `values` are drawn."""
    with keras.saving.CustomObjectScope(_classes(list(values))):
        left = [_restored(value) for value in values]

    def draw(*args, **kwargs):
        if not left:
            raise ValueError(f"drawn= holds {len(values)} values, fewer than this bijector draws. {own}")
        return left.pop(0)

    own = "Take the line of its own report."
    bijector = _function_of_draw(make)(draw)
    if left:
        raise ValueError(
            f"drawn= holds {len(values)} values, {len(left)} more than this bijector draws. {own}"
        )
    return bijector


def replay_line(clause, example, *, drawn=None, context=None, profile="full"):
    """The call that repeats a failure, with ... for the bijector, and for a context that is a function."""
    options = [f"clauses=[{clause!r}]", f"replay={example!r}"]
    if drawn is not None:
        options.append(f"drawn={source(drawn)}")
    if context is not None:
        shape = context if isinstance(context, dict) or callable(context) else tuple(context)
        options.append(f"context={'...' if callable(context) else repr(shape)}")
    if profile != "full":
        options.append(f"profile={profile!r}")
    return f"check_bijector(..., {', '.join(options)})  # engine {backends.name()}"


def source(value):
    """`value` as Python source: its repr, except for floats that have none."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k!r}: {source(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(source, value)) + "]"
    if isinstance(value, tuple):
        return (
            "("
            + "".join(f"{source(v)}, " for v in value).removesuffix(" " if len(value) == 1 else ", ")
            + ")"
        )
    if isinstance(value, float) and not math.isfinite(value):
        return f"float({str(value)!r})"
    return repr(value)


def _stored(value):
    """What was drawn, as it can be printed and kept: a layer or array as its config."""
    if isinstance(value, (keras.Layer, np.ndarray)):
        return keras.saving.serialize_keras_object(value)
    if isinstance(value, np.generic):
        return value.item()
    if type(value) in (list, tuple):
        return type(value)(map(_stored, value))
    return {key: _stored(part) for key, part in value.items()} if type(value) is dict else value


def _restored(value):
    """The inverse of `_stored`."""
    if isinstance(value, dict) and "class_name" in value:
        return keras.saving.deserialize_keras_object(value)
    if type(value) in (list, tuple):
        return type(value)(map(_restored, value))
    return {key: _restored(part) for key, part in value.items()} if type(value) is dict else value


def _function_of_draw(make):
    return (lambda draw: draw(make)) if isinstance(make, st.SearchStrategy) else make


def _classes(stored):
    """The classes that a config names and that are found in their modules, registered with Keras or not."""
    if isinstance(stored, (list, tuple)):
        return {name: found for part in stored for name, found in _classes(part).items()}
    if not isinstance(stored, dict):
        return {}
    found = _classes(list(stored.values()))
    name, module = stored.get("class_name"), sys.modules.get(stored.get("module"))
    return found | ({name: getattr(module, name)} if module and hasattr(module, str(name)) else {})
