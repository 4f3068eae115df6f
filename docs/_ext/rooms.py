"""Replace `{room} flowkit.bijectors` on a page by a table of the room's names and their documentation.

The names come from the room's `__all__`, so the page contains all public names.
"""

import importlib
import inspect
import re

from docstrings import as_rst

_ROOM = re.compile(r"^```\{room\} (\S+)\n```$", re.MULTILINE)


def documented(module):
    """Return the classes and functions of `__all__`, without constants."""
    return [
        name
        for name in module.__all__
        if inspect.isroutine(thing := getattr(module, name)) or inspect.isclass(thing)
    ]


def row(room, name):
    """Return the name and the first paragraph of the docstring."""
    first = (inspect.getdoc(getattr(importlib.import_module(room), name)) or "").split("\n\n")[0]
    return f"   * - :py:obj:`{name} <{room}.{name}>`\n     - {as_rst(' '.join(first.split()))}"


def in_full(found):
    room = found[1]
    names = documented(importlib.import_module(room))
    rows = "\n".join(row(room, name) for name in names)
    return (
        f"```{{eval-rst}}\n.. list-table::\n   :widths: auto\n\n{rows}\n\n"
        f".. automodule:: {room}\n   :members: {', '.join(names)}\n```"
    )


def expand(app, name, source):
    source[0] = _ROOM.sub(in_full, source[0])


def skip_kerass(app, kind, name, thing, skip, options):
    """Skip members that a class inherits from Keras."""
    return True if (getattr(thing, "__module__", None) or "").startswith("keras") else None


def setup(app):
    app.connect("autodoc-skip-member", skip_kerass)
    app.connect("source-read", expand)
    return {"parallel_read_safe": True}
