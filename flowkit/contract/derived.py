"""Values that depend on weights alone: which hooks receive them, and when they are constants, as in an export."""

import contextlib
import contextvars
import threading
from collections.abc import Callable, Hashable, Iterator
from typing import Any

from keras import ops

from flowkit.contract.shapes import as_tuple

_FROZEN: contextvars.ContextVar[dict[Hashable, Any] | None] = contextvars.ContextVar("frozen", default=None)
# Count the open scopes of all threads. `torch.compile` reads a number, and stops at a context variable.
_SCOPES = 0
_COUNTING = threading.Lock()


def takes_derived(layer_class: type, hook: str) -> bool:
    """Return True if a hook takes `derived=`: `_derive` is defined in the class that defines the hook, or below.

    A subclass with a hook of its own receives it only if it defines `_derive` too.
    """
    return goes_with(layer_class, "_derive", hook)


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


def as_keyword(derived: Any) -> dict[str, Any]:
    """Return `derived` as a keyword, or no keyword for None."""
    return {} if derived is None else {"derived": derived}


# Weights that will not change any more


@contextlib.contextmanager
def frozen() -> Iterator[None]:
    """Return a scope without changes of weights, in which each layer derives once, with the first thing that is run.

    A run without tracing comes first, and finds the numbers; a run that is traced then has them as constants, and
    neither triangular solves nor diagonals in its graph, which some formats cannot hold.
    """
    token = _FROZEN.set({})
    _count(1)
    try:
        yield
    finally:
        _count(-1)
        _FROZEN.reset(token)


def _count(more):
    global _SCOPES
    with _COUNTING:
        _SCOPES += more


@contextlib.contextmanager
def apart(name: Hashable) -> Iterator[None]:
    """Return a scope in which a layer that runs with other weights, those of `name`, derives apart."""
    kept = _FROZEN.get() if _SCOPES else None
    if kept is None:
        yield
        return
    token = _FROZEN.set(kept.setdefault(("apart", name), {}))
    try:
        yield
    finally:
        _FROZEN.reset(token)


def freezes() -> bool:
    """Return True if the weights are frozen now: each part then derives by itself, and is run by itself."""
    return _SCOPES > 0 and _FROZEN.get() is not None


def derive_from(layer: Any, x_shape: Any, *direction: bool) -> Any:
    """Return `layer._derive(x_shape, *direction)`, once if the weights are frozen."""
    if not _SCOPES:
        return layer._derive(x_shape, *direction)
    return once((layer, as_tuple(x_shape[1:]), *direction), lambda: layer._derive(x_shape, *direction))


def once(name: Hashable, derive: Callable[[], Any]) -> Any:
    """Return `derive()`, a nest of tensors; if the weights are frozen, tensors of the numbers of the first call."""
    kept = _FROZEN.get() if _SCOPES else None
    if kept is None:
        return derive()
    if name not in kept:
        kept[name] = _mapped(ops.convert_to_numpy, derive())
    return _mapped(ops.convert_to_tensor, kept[name])


def _mapped(function, nest):
    """Return `nest` with `function(array)` in place of each array or tensor; plain numbers and None stay."""
    if isinstance(nest, dict):
        return {key: _mapped(function, value) for key, value in nest.items()}
    if isinstance(nest, list | tuple):
        return [_mapped(function, value) for value in nest]
    return function(nest) if hasattr(nest, "shape") else nest
