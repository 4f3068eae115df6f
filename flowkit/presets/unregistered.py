"""Classes of their author's own that Keras does not know, in the errors of saving and loading."""

import re


def unregistered(error: Exception) -> tuple[str, str] | None:
    """(module, class) that `error`, one of Keras's, could not locate; None for another error or a class of flowkit's.

    >>> unregistered(TypeError("Could not locate class 'Twist'. Full object config: {'module': 'mine', 'config': {}}"))
    ('mine', 'Twist')
    """
    told = str(error).split("Exception encountered: ")[-1]
    found = re.search(r"Could not locate class '(.+?)'.*?'module': '(.+?)'", told, re.DOTALL)
    if found is None or found[2].partition(".")[0] in ("flowkit", "keras"):  # damaged, or of another version
        return None
    return found[2], found[1]


def import_first(module: str, name: str) -> str:
    """What to do about a file with such a class."""
    return (
        f"it holds the class {name!r} of {module!r}, which is neither Keras's nor flowkit's: in Python, first import "
        "the module that registers it, then load the flow"
    )
