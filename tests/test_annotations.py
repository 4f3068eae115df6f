"""Whatever is public says what it takes and what it gives."""

import ast
import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest

import flowkit

pytestmark = pytest.mark.one_engine

ROOT = Path(__file__).parents[1]


def modules():
    """The packages and files whose `__all__` makes flowkit's public interface."""
    names = [
        flowkit.__name__,
        *(module.name for module in pkgutil.iter_modules(flowkit.__path__, "flowkit.")),
    ]
    found = (importlib.import_module(name) for name in names if not name.endswith(("engines", "__main__")))
    return [module for module in found if getattr(module, "__all__", None)]


def own(function):
    return inspect.getmodule(function) is not None and inspect.getmodule(function).__name__.startswith(
        "flowkit"
    )


def functions(value):
    """name -> what can be called: a function, or the methods of a class that flowkit has written."""
    if inspect.isfunction(value):
        yield value.__name__, value
    elif inspect.isclass(value):
        for base in value.__mro__:
            if not base.__module__.startswith("flowkit"):
                continue
            for name, member in vars(base).items():
                member = getattr(member, "fget", None) or getattr(member, "__func__", member)
                public = not name.startswith("_") or name in ("__init__", "__call__")
                if public and inspect.isfunction(member) and own(member):
                    yield f"{base.__name__}.{name}", member


def unsaid(function):
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())
    if "." in function.__qualname__.rpartition("<locals>.")[2]:
        parameters = parameters[1:]  # self
    missing = [p.name for p in parameters if p.annotation is inspect.Parameter.empty]
    if signature.return_annotation is inspect.Signature.empty and function.__name__ != "__init__":
        missing.append("return")
    return missing


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.__name__)
def test_every_public_signature_is_annotated(module):
    missing = {
        name: unsaid(function)
        for public in module.__all__
        for name, function in functions(getattr(module, public))
        if unsaid(function)
    }
    assert missing == {}


def test_type_checkers_are_told_of_every_public_name():
    stub = ast.parse((ROOT / "flowkit/__init__.pyi").read_text("utf-8"))
    imported = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    told = {alias.name: node.module for node in imported for alias in node.names}
    homes = {name: home or "flowkit" for name, home in flowkit._PUBLIC.items()}
    assert told == homes
