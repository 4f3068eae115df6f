"""What makes a bijector, by name: "package.module:Name"."""

import importlib
import inspect


def found(name):
    """What "package.module:Name" names; a ValueError says what is not there."""
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        raise ValueError(f"cannot read {name!r}: expected package.module:Name")
    try:
        target = importlib.import_module(module)
    except ImportError as error:
        raise ValueError(f"cannot import {module!r}: {error}") from error
    for part in attribute.split("."):
        if not hasattr(target, part):
            raise ValueError(f"{module!r} has no {attribute!r}")
        target = getattr(target, part)
    return target


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
