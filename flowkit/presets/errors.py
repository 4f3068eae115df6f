"""Errors of presets, and why Keras could not load a file."""

import re


class PresetError(ValueError):
    """A preset that cannot be found, read or written: one line with what was expected, what came and what to do."""


def unregistered(error: Exception) -> tuple[str, str] | None:
    """Return the (module, class) that Keras could not locate; None for another error or a class of flowkit's.

    >>> unregistered(TypeError("Could not locate class 'Twist'. Full object config: {'module': 'mine', 'config': {}}"))
    ('mine', 'Twist')
    """
    found = re.search(r"Could not locate class '(.+?)'.*?'module': '(.+?)'", _innermost(error), re.DOTALL)
    if found is None or found[2].partition(".")[0] in ("flowkit", "keras"):  # damaged, or of another version
        return None
    return found[2], found[1]


def reason(error: Exception) -> str:
    """Return why Keras could not load a file, in one sentence."""
    if (unknown := unregistered(error)) is not None:
        module, name = unknown
        return (
            f"it holds the class {name!r} of {module!r}, which is neither Keras's nor flowkit's: in Python, first "
            "import the module that registers it, then load the flow"
        )
    first = re.split(r"\.\s|\n", _innermost(error), maxsplit=1)[0].rstrip(".")
    return first[:200] or type(error).__name__


def _innermost(error):
    """Return the text of the innermost error: Keras puts each outer config before it."""
    return str(error).split("Exception encountered: ")[-1].strip()
