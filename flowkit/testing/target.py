"""Find what makes a bijector by its name: "package.module:Name", or "folder/file.py:Name"."""

import difflib
import importlib
import inspect
import json
import sys
from pathlib import Path

from hypothesis.strategies import SearchStrategy

from flowkit.contract import FlowLayer
from flowkit.distributions import Distribution
from flowkit.testing.checker import check_bijector, profile_of


def found(name):
    """Return what "package.module:Name" or "folder/file.py:Name" names. Raises ValueError for what is not there."""
    module, _, attribute = name.rpartition(":")
    if not (module and attribute):
        raise ValueError(f"cannot read {name!r}: expected package.module:Name, or file.py:Name")
    target = _of_file(Path(module)) if module.endswith(".py") else _imported(module)
    for part in attribute.split("."):
        if not hasattr(target, part):
            near = difflib.get_close_matches(part, dir(target), n=1, cutoff=0.6)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"{module!r} has no {attribute!r}{hint}")
        target = getattr(target, part)
    return target


def report(name, options):
    """Check what `name` names, as `flowkit check` does in a process of each engine; print one line of JSON."""
    options = json.loads(options)
    try:
        profile_of(options.get("profile", "full"))
        make = checkable(found(name), name)
    except ValueError as error:
        answer = {"misused": str(error)}
    else:
        found_out = check_bijector(make, raises=False, **options)
        answer = {**found_out.as_dict(), "table": str(found_out)}
    print("\n" + json.dumps(answer))


def checkable(thing, name):
    """Return `thing` if it is, or makes, a bijector; raise ValueError otherwise. Call nothing.

    A function must be written in Python and have no parameter, or one named `draw`.
    """
    if inspect.isclass(thing) and issubclass(thing, FlowLayer):
        try:
            inspect.signature(thing).bind()
        except TypeError as error:
            raise ValueError(
                f"{name!r}: {error}; expected what makes a bijector without any: write a function beside it, "
                f"def one(): return {thing.__name__}(...)"
            ) from None
        return thing
    if isinstance(thing, (FlowLayer, SearchStrategy)):
        return thing
    if inspect.isfunction(thing) and list(inspect.signature(thing).parameters) in ([], ["draw"]):
        return thing
    if isinstance(thing, Distribution) or (inspect.isclass(thing) and issubclass(thing, Distribution)):
        hint = "flowkit.testing.check_distribution checks a distribution"
    elif hasattr(thing, "bijector"):
        hint = "name the bijector of a flow"
    else:
        hint = "write a function in a module of your own, def one(): return ..."
    kind = f"the class {thing.__name__}" if inspect.isclass(thing) else f"a {type(thing).__name__}"
    raise ValueError(
        f"{name!r} is {kind}, expected a Bijector or Surjection, its class or a function: {hint}"
    )


def _imported(module):
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ValueError(f"cannot import {module!r}: {error}") from error


def _of_file(path):
    """Return the module in a file, as a program beside it would import it."""
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
    """Return the name by which another process finds a function or class."""
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
