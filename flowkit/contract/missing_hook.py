"""Hooks that were written under another name: what is said of them, at once or where one is missing."""

import difflib
from typing import Any


def missing_hook(layer: Any, hook: str, given: str) -> str:
    """The message for a `hook` that a layer's author has not written, `given` being its argument.

    A method whose name is nearly the hook's is named.
    """
    said = f"{type(layer).__name__} has no {hook}(self, {given})"
    if near := difflib.get_close_matches(hook, _written_by_authors(layer), n=1, cutoff=0.8):
        return f"{said}, but {near[0]}: rename that to {hook}."
    return f"{said}."


def refuse_public_names(kind: type, base: type) -> None:
    """Raise TypeError for a class that writes `forward` or `inverse`, as other libraries call the two directions.

    The first is what PyTorch runs of every Keras layer. The second is the base's call of the hook, and stands in
    nobody's way if the hook is there too.
    """
    for name in ("forward", "inverse"):
        hook = f"_{name}"
        if name in vars(kind) and (name == "forward" or getattr(kind, hook) is getattr(base, hook)):
            raise TypeError(
                f"{kind.__name__} expects its hooks as _forward(self, x) and _inverse(self, z), received {name}: "
                f"rename that to {hook}, since the layer itself is called."
            )


def _written_by_authors(layer):
    """The methods of a layer's own classes, before those of flowkit's contract."""
    names = []
    for kind in type(layer).__mro__:
        if kind.__module__.startswith("flowkit.contract."):
            break
        names += [name for name, value in vars(kind).items() if callable(value)]
    return names
