"""Values that depend on weights alone: which hooks receive them, and when they are constants, as in an export."""

import contextlib
import functools
import inspect
import threading
from collections.abc import Callable, Hashable
from typing import Any

from keras import ops, tree

from flowkit.contract.shapes import as_tuple

# Thread -> what layers derived in it while their weights are frozen. `torch.compile` reads a dict, and stops at a
# context variable.
_FROZEN: dict[int, dict[Hashable, Any]] = {}


def goes_with(layer_class: type, name: str, hook: str) -> bool:
    """Return True if an attribute is defined in the class that defines the hook, or below.

    >>> class Parent:
    ...     def call(self): ...
    ...     twin = call
    >>> class Child(Parent):
    ...     def call(self): ...
    >>> goes_with(Parent, "twin", "call"), goes_with(Child, "twin", "call")
    (True, False)
    """
    for owner in layer_class.__mro__:
        if name in vars(owner):
            return True
        if hook in vars(owner):
            return False
    return False


def takes_derived(layer_class: Any, hook: str) -> bool:
    """Return True if a hook receives `derived=`: it was written with `_derive`, or declares the argument."""
    return _takes_derived(layer_class, hook)


@functools.cache  # asked in each call of a network
def _takes_derived(layer_class, hook):
    declares = "derived" in inspect.signature(getattr(layer_class, hook)).parameters
    return goes_with(layer_class, "_derive", hook) or (declares and hasattr(layer_class, "_derive"))


def as_keyword(derived: Any) -> dict[str, Any]:
    """Return `derived` as a keyword, or no keyword for None."""
    return {} if derived is None else {"derived": derived}


# Weights that will not change any more


def frozen() -> contextlib.AbstractContextManager[None]:
    """Return a scope without changes of weights, in which each layer derives once, with the first thing that is run.

    A run without tracing comes first, and finds the numbers; a run that is traced then has them as constants, and
    neither triangular solves nor diagonals in its graph, which some formats cannot hold.
    """
    return _keeping({})


def apart(name: Hashable) -> contextlib.AbstractContextManager[None]:
    """Return a scope in which a layer that runs with other weights, those of `name`, derives apart."""
    kept = _kept()
    return contextlib.nullcontext() if kept is None else _keeping(kept.setdefault(("apart", name), {}))


def freezes() -> bool:
    """Return True if the weights are frozen now: each part then derives by itself, and is run by itself."""
    return _kept() is not None


def _kept():
    return _FROZEN.get(threading.get_ident()) if _FROZEN else None


@contextlib.contextmanager
def _keeping(kept):
    thread = threading.get_ident()
    before = _FROZEN.get(thread)
    _FROZEN[thread] = kept
    try:
        yield
    finally:
        _FROZEN.pop(thread)
        if before is not None:
            _FROZEN[thread] = before


def derive_from(layer: Any, x_shape: Any, *direction: bool) -> Any:
    """Return `layer._derive(x_shape, *direction)`, once if the weights are frozen."""
    if not _FROZEN:
        return layer._derive(x_shape, *direction)
    return once((layer, as_tuple(x_shape[1:]), *direction), lambda: layer._derive(x_shape, *direction))


def once(name: Hashable, derive: Callable[[], Any]) -> Any:
    """Return `derive()`, a nest of tensors; if the weights are frozen, tensors of the numbers of the first call."""
    kept = _kept()
    if kept is None:
        return derive()
    if name not in kept:
        kept[name] = _tensors_as(ops.convert_to_numpy, derive())
    return _tensors_as(ops.convert_to_tensor, kept[name])


def _tensors_as(convert, nest):
    return tree.map_structure(lambda value: convert(value) if hasattr(value, "shape") else value, nest)
