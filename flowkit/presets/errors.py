"""Errors of presets, and why Keras could not load a file."""

import re


class PresetError(ValueError):
    """A preset that cannot be found, read or written: one line with what was expected, what came and what to do."""


def reason(error: Exception) -> str:
    """Return why Keras could not load a file, in one sentence.

    >>> reason(TypeError("Could not locate class 'Twist'. Full object config: {'module': 'mine', 'config': {}}"))[:40]
    "it holds the class 'Twist' of 'mine', wh"
    """
    text = _innermost(error)
    unknown = re.search(r"Could not locate class '(.+?)'.*?'module': '(.+?)'", text, re.DOTALL)
    # One of flowkit's or Keras's is damaged, or of another version.
    if unknown is not None and unknown[2].partition(".")[0] not in ("flowkit", "keras"):
        return (
            f"it holds the class {unknown[1]!r} of {unknown[2]!r}, which is neither Keras's nor flowkit's: in Python, "
            "first import the module that registers it, then load the flow"
        )
    first = re.split(r"\.\s|\n", text, maxsplit=1)[0].rstrip(".")
    return first[:200] or type(error).__name__


def _innermost(error):
    """Return the text of the innermost error: Keras puts each outer config before it."""
    return str(error).split("Exception encountered: ")[-1].strip()
