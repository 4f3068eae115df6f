"""What is said of a layer without one of its hooks: it may have been written under another name."""

import difflib
from typing import Any


def missing_hook(layer: Any, hook: str, given: str) -> str:
    """The message for a `hook` that a layer's author has not written, `given` being its argument.

    A method whose name is nearly the hook's is named: `forward`, as other libraries call it, or a slip of the pen.
    """
    said = f"{type(layer).__name__} has no {hook}(self, {given})"
    if near := difflib.get_close_matches(hook, _written_by_authors(layer), n=1, cutoff=0.8):
        return f"{said}, but {near[0]}: rename that to {hook}, since the public names are the base class's."
    return f"{said}."


def _written_by_authors(layer):
    """The methods of a layer's own classes, before those of flowkit's contract."""
    names = []
    for kind in type(layer).__mro__:
        if kind.__module__.startswith("flowkit.contract."):
            break
        names += [name for name, value in vars(kind).items() if callable(value)]
    return names
