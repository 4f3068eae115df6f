"""Show signatures as users read them.

Layers show that of `__init__`, which Keras's `__new__(*args, **kwargs)` hides. Arguments that take tensors are `Any`
in the code, because a tensor is another class on each backend; the pages call them `Tensor`.
"""

import re

from sphinx.util.inspect import signature, stringify_signature

_KINDS = {
    "Tensor": "x x0 x1 x2 y z h eps y_pred inputs noise context sample_weight log_scale log_weights",
    "Shape": "x_shape z_shape context_shape input_shape latent_shape shape",
    "Bijector": "bijector",
    "Flow": "flow",
    "Conditioner": "conditioner",
    "int": "batch_size seed n",
}
_OF = {argument: kind for kind, arguments in _KINDS.items() for argument in arguments.split()}
_ARGUMENT = re.compile(r"\b(\w+): Any\b")


def named(signature):
    """Return a signature with `Any` replaced by the kind of the argument.

    >>> named("(x: Any, context: Any = None, options: Any = 1)")
    '(x: Tensor, context: Tensor = None, options: Any = 1)'
    """
    return signature and _ARGUMENT.sub(lambda found: f"{found[1]}: {_OF.get(found[1], 'Any')}", signature)


def of_init(app, kind, name, thing, options, found, returns):
    if kind in ("class", "exception") and found in ("(*args, **kwargs)", "(*args: Any, **kwargs: Any)"):
        found = stringify_signature(signature(thing.__init__, bound_method=True), unqualified_typehints=True)
    if returns:
        returns = returns.replace("tuple[Any, Any]", "tuple[Tensor, Tensor]")
    return named(found), returns


def setup(app):
    app.connect("autodoc-process-signature", of_init)
    return {"parallel_read_safe": True}
