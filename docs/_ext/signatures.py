"""Show signatures as users read them.

Layers show that of `__init__`, which Keras's `__new__(*args, **kwargs)` hides, without the ranges that `Annotated` adds
for checks.
"""

import contextlib
import typing

from sphinx.util.inspect import signature, stringify_signature

_HIDDEN = ("(*args, **kwargs)", "(*args: Any, **kwargs: Any)", "(*args: ~typing.Any, **kwargs: ~typing.Any)")


def without_ranges(function, *, bound):
    """Return the signature of a function with plain types."""
    found, hints = signature(function, bound_method=bound), {}
    with contextlib.suppress(NameError, TypeError):  # types that only type checkers import
        hints = typing.get_type_hints(function)
    parameters = [
        one.replace(annotation=hints.get(one.name, one.annotation)) for one in found.parameters.values()
    ]
    return found.replace(parameters=parameters, return_annotation=found.empty)


def readable(app, kind, name, thing, options, found, returns):
    if found and (found in _HIDDEN or "Annotated[" in found):
        is_class = kind in ("class", "exception")
        plain = without_ranges(thing.__init__ if is_class else thing, bound=is_class or kind == "method")
        found = stringify_signature(plain, unqualified_typehints=True)
    return found, None if returns == "None" else returns


def setup(app):
    app.connect("autodoc-process-signature", readable)
    return {"parallel_read_safe": True}
