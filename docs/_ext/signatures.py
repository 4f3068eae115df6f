"""Show signatures as users read them.

Layers show that of `__init__`, which Keras's `__new__(*args, **kwargs)` hides, without the ranges that `Annotated` adds
for checks. Arguments that take tensors are `Any` in the code, because tensors are other classes on each backend; pages
call them `Tensor`.
"""

import contextlib
import re
import typing

from sphinx.util.inspect import signature, stringify_signature

_KINDS = {
    "Tensor": "x x0 x1 x2 y z h eps y_pred inputs noise context sample_weight log_scale log_weights",
    "Shape": "x_shape z_shape context_shape input_shape latent_shape shape",
    "Bijector": "bijector block",
    "Distribution": "base",
    "Layer": "embedding",
    "Flow": "flow",
    "Conditioner | Layer": "conditioner",
    "int": "batch_size seed n",
}
_OF = {argument: kind for kind, arguments in _KINDS.items() for argument in arguments.split()}
_ARGUMENT = re.compile(r"\b(\w+): (?:~typing\.)?Any\b")
_HIDDEN = ("(*args, **kwargs)", "(*args: Any, **kwargs: Any)", "(*args: ~typing.Any, **kwargs: ~typing.Any)")


def named(signature):
    """Return a signature with `Any` replaced by the kind of the argument.

    >>> named("(x: Any, context: ~typing.Any = None, options: Any = 1)")
    '(x: Tensor, context: Tensor = None, options: Any = 1)'
    """
    return signature and _ARGUMENT.sub(lambda found: f"{found[1]}: {_OF.get(found[1], 'Any')}", signature)


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
    if returns:
        returns = returns.replace("~typing.Any", "Any").replace("tuple[Any, Any]", "tuple[Tensor, Tensor]")
    found = named(found and found.replace("tuple[~typing.Any, ~typing.Any]", "tuple[Tensor, Tensor]"))
    return found, None if returns == "None" else returns


def setup(app):
    app.connect("autodoc-process-signature", readable)
    return {"parallel_read_safe": True}
