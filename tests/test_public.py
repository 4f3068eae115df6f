"""Whatever is public is annotated and shown, has a page that is easily found, and an example that the doctests run."""

import ast
import importlib
import inspect
import pkgutil
import posixpath
import re
from pathlib import Path

import keras
import numpy as np
import pytest

import flowkit
from flowkit import data, training

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def modules():
    """Return the packages and files whose `__all__` makes flowkit's public interface."""
    names = [flowkit.__name__, *(one.name for one in pkgutil.iter_modules(flowkit.__path__, "flowkit."))]
    found = (importlib.import_module(name) for name in names if not name.endswith(("engines", "__main__")))
    return [module for module in found if getattr(module, "__all__", None)]


def public_classes():
    """Return the classes of the front door and of its rooms, but for the engines' room, which is not for users."""
    found = set()
    for name, home in flowkit._PUBLIC.items():
        module = importlib.import_module(home or f"flowkit.{name}")
        things = [getattr(module, one) for one in ([name] if home else module.__all__)]
        found |= {thing for thing in things if inspect.isclass(thing) and name != "engines"}
    return sorted(found, key=lambda kind: f"{kind.__module__}.{kind.__name__}")


def functions(value):
    """Yield (name, function) of a function, or of the public methods that flowkit has written for a class."""
    if inspect.isfunction(value):
        yield value.__name__, value
    for base in value.__mro__ if inspect.isclass(value) else ():
        for name, member in vars(base).items():
            member = getattr(member, "fget", None) or getattr(member, "__func__", member)
            public = not name.startswith("_") or name in ("__init__", "__call__")
            if public and inspect.isfunction(member) and member.__module__.startswith("flowkit"):
                yield f"{base.__name__}.{name}", member


def unsaid(function):
    """Return the parameters, and "return", that a signature does not annotate."""
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())
    if "." in function.__qualname__.rpartition("<locals>.")[2]:
        parameters = parameters[1:]  # without self
    missing = [p.name for p in parameters if p.annotation is inspect.Parameter.empty]
    returns = signature.return_annotation is not inspect.Signature.empty or function.__name__ == "__init__"
    return missing if returns else [*missing, "return"]


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.__name__)
def test_every_public_signature_is_annotated(module):
    found = [pair for public in module.__all__ for pair in functions(getattr(module, public))]
    assert {name: unsaid(function) for name, function in found if unsaid(function)} == {}


def test_type_checkers_read_every_public_name():
    stub = ast.parse((ROOT / "flowkit/__init__.pyi").read_text("utf-8"))
    imported = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    told = {alias.name: node.module for node in imported for alias in node.names}
    assert told == {name: home or "flowkit" for name, home in flowkit._PUBLIC.items()}


# An error is shown by its message, and its example would be how to go wrong.
SHOWN = [kind for kind in public_classes() if not issubclass(kind, Exception)]


@pytest.mark.parametrize("kind", SHOWN, ids=lambda kind: kind.__name__)
def test_a_class_has_a_repr_of_its_own_and_an_example(kind):
    whose = next(base for base in kind.__mro__ if "__repr__" in vars(base))
    assert whose.__module__.startswith("flowkit."), f"{kind.__name__} is shown as any {whose.__name__}"
    assert ">>> " in (kind.__doc__ or ""), f"{kind.__name__} has no example"


def test_arrays_and_what_has_no_repr_are_shown_by_their_kind():
    images = np.zeros((20, 8, 8, 1), "uint8")
    assert repr(data.batches(images, batch_size=4)) == "Batches(<20x8x8x1 uint8>, batch_size=4)"
    assert repr(training.GuardedOptimizer(keras.optimizers.Adam())) == "GuardedOptimizer(Adam(...))"
    assert repr(training.GlowAdamax(public_classes)) == "GlowAdamax(public_classes)"


def test_every_public_name_has_a_page():
    """Its room's page names the room, all of whose names get a page, or the name."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in sorted((DOCS / "api").glob("*.md")))
    found = re.findall(r"^```\{room\} (\S+)((?: \S+)*)$", text, re.MULTILINE)
    rooms = {room for room, names in found if not names}
    assert {f"flowkit.{name}" for name, home in flowkit._PUBLIC.items() if home is None} - rooms == set()
    single = {name for name, home in flowkit._PUBLIC.items() if home is not None and home not in rooms}
    assert single - {name for _, names in found for name in names.split()} == set()


def links(page):
    """Return the pages that a page links to: in its toctrees, on cards and in its text."""
    text = (DOCS / f"{page}.md").read_text("utf-8")
    toctrees = "".join(re.findall(r"^```\{toctree\}\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    listed = re.findall(r"^[^:\s].*$", toctrees, re.MULTILINE)
    cards = re.findall(r"^:link: (\S+)$", text, re.MULTILINE)
    inline = [
        posixpath.join(posixpath.dirname(page), link) for link in re.findall(r"\]\(([\w./-]+)\.md", text)
    ]
    return {posixpath.normpath(link) for link in [*listed, *cards, *inline]}


def test_every_page_is_within_two_links_of_home():
    """The toctree of a room's page lists those of its names, and the gallery's those of its pictures."""
    folders = [DOCS, *DOCS.glob("[!_]*/")]
    pages = {path.relative_to(DOCS).with_suffix("").as_posix() for f in folders for path in f.glob("*.md")}
    near = links("index")
    second = {link for page in near & pages for link in links(page)}
    assert pages - {"index"} - near - second == set()
