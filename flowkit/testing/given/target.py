"""What makes a bijector, by name: "package.module:Name", or "folder/file.py:Name"."""

import difflib
import importlib
import inspect
import sys
from pathlib import Path


def found(name):
    """What "package.module:Name" or "folder/file.py:Name" names; a ValueError says what is not there."""
    module, colon, attribute = name.rpartition(":")
    if not (module and colon and attribute):
        raise ValueError(f"cannot read {name!r}: expected package.module:Name, or file.py:Name")
    target = _of_file(Path(module)) if module.endswith(".py") else _imported(module)
    for part in attribute.split("."):
        if not hasattr(target, part):
            near = difflib.get_close_matches(part, dir(target), n=1, cutoff=0.6)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"{module!r} has no {attribute!r}{hint}")
        target = getattr(target, part)
    return target


def without_arguments(make, name):
    """`make`; a ValueError for a class that asks for arguments, which nobody gives."""
    if inspect.isclass(make):
        try:
            inspect.signature(make).bind()
        except TypeError as error:
            raise ValueError(
                f"{name!r}: {error}; expected what makes a bijector without any: write a function beside it, "
                f"def one(): return {make.__name__}(...)"
            ) from None
    return make


def _imported(module):
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ValueError(f"cannot import {module!r}: {error}") from error


def _of_file(path):
    """The module in a file, as a program beside it would import it."""
    if not path.is_file():
        raise ValueError(f"no file {str(path)!r}")
    sys.path.insert(0, str(path.resolve().parent))
    module = _imported(path.stem)
    file = getattr(module, "__file__", None)
    if file is None or Path(file).resolve() != path.resolve():
        raise ValueError(
            f"{str(path)!r} has the name of another module, {file or path.stem}: rename the file"
        )
    return module


def name_of(make):
    """The name by which another process finds a function or class."""
    if isinstance(make, str):
        return make
    module, name = getattr(make, "__module__", None), getattr(make, "__qualname__", None)
    if not (inspect.isroutine(make) or inspect.isclass(make)):
        raise TypeError(f"expected a function or class that makes a bijector, or its name, received {make!r}")
    if module in (None, "__main__") or "<" in name:
        raise ValueError(
            f"{name} of {module} cannot be found by another process: write it at the top of a module that can be "
            "imported"
        )
    return f"{module}:{name}"
