"""Replace `{room} flowkit.bijectors` on a page by a table of the room's names, each of which gets a page of its own.

The names come from the room's `__all__`, so all public names have a page; `{room} flowkit.flow Flow` takes only those
that it lists. The pages lie in api/names/, written before Sphinx reads its sources.
"""

import importlib
import inspect
import re
from pathlib import Path

from docstrings import sentence

_ROOM = re.compile(r"^```\{room\} (\S+)((?: \S+)*)\n```$", re.MULTILINE)
_FOLDER = Path("api", "names")


def documented(module):
    """Return the classes and functions of `__all__`, without constants."""
    return [
        name
        for name in module.__all__
        if inspect.isroutine(thing := getattr(module, name)) or inspect.isclass(thing)
    ]


def names_in(found):
    """Return the room and the names of a `{room}`."""
    room = importlib.import_module(found[1])
    return found[1], found[2].split() or documented(room)


def write_pages(app):
    """Write one page for each name of each room, and delete others."""
    folder = Path(app.srcdir) / _FOLDER
    folder.mkdir(exist_ok=True)
    pages = {}
    for path in sorted(folder.parent.glob("*.md")):
        for found in _ROOM.finditer(path.read_text(encoding="utf-8")):
            room, names = names_in(found)
            pages |= {f"{room}.{name}.md": page(room, name) for name in names}
    for path in folder.iterdir():
        if path.name not in pages:
            path.unlink()
    for name, text in pages.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:  # Sphinx reads changed pages again
            path.write_text(text, encoding="utf-8")


def page(room, name):
    thing = getattr(importlib.import_module(room), name)
    kind = "class" if inspect.isclass(thing) else "function"
    inherited = (
        "\n   :inherited-members: Model" if name == "Flow" else ""
    )  # methods of its base are part of it
    return f"# {name}\n\n```{{eval-rst}}\n.. auto{kind}:: {room}.{name}{inherited}\n```\n"


def row(room, name):
    """Return the name and the first paragraph of the docstring."""
    first = (inspect.getdoc(getattr(importlib.import_module(room), name)) or "").split("\n\n")[0]
    return f"   * - :doc:`{name} <names/{room}.{name}>`\n     - {sentence(first)}"


def table(found):
    room, names = names_in(found)
    rows = "\n".join(row(room, name) for name in names)
    pages = "\n".join(f"   {name} <names/{room}.{name}>" for name in names)
    return (
        f"```{{eval-rst}}\n.. list-table::\n   :widths: auto\n\n{rows}\n\n"
        f".. toctree::\n   :hidden:\n\n{pages}\n```"
    )


def expand(app, name, source):
    source[0] = _ROOM.sub(table, source[0])


def skip_kerass(app, kind, name, thing, skip, options):
    """Skip members that a class inherits from Keras."""
    return True if (getattr(thing, "__module__", None) or "").startswith("keras") else None


def setup(app):
    app.connect("builder-inited", write_pages)
    app.connect("autodoc-skip-member", skip_kerass)
    app.connect("source-read", expand)
    return {"parallel_read_safe": True}
