"""Errors of presets, and of classes that Keras cannot find by name."""

import re


class PresetError(ValueError):
    """A preset that cannot be had, read or written: one line that says what was expected, what came and what to do."""


def unregistered(error: Exception) -> tuple[str, str] | None:
    """Return the (module, class) that Keras could not locate; None for another error or a class of flowkit's.

    >>> unregistered(TypeError("Could not locate class 'Twist'. Full object config: {'module': 'mine', 'config': {}}"))
    ('mine', 'Twist')
    """
    told = str(error).split("Exception encountered: ")[-1]
    found = re.search(r"Could not locate class '(.+?)'.*?'module': '(.+?)'", told, re.DOTALL)
    if found is None or found[2].partition(".")[0] in ("flowkit", "keras"):  # damaged, or of another version
        return None
    return found[2], found[1]


def import_first(module: str, name: str) -> str:
    """Return what to do about a file with such a class."""
    return (
        f"it holds the class {name!r} of {module!r}, which is neither Keras's nor flowkit's: in Python, first import "
        "the module that registers it, then load the flow"
    )
