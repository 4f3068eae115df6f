"""Show the signature of `__init__` for layers; Keras defines a `__new__(*args, **kwargs)` that hides it."""

from sphinx.util.inspect import signature, stringify_signature


def of_init(app, kind, name, thing, options, found, returns):
    if kind not in ("class", "exception") or found not in (
        "(*args, **kwargs)",
        "(*args: Any, **kwargs: Any)",
    ):
        return None
    return stringify_signature(signature(thing.__init__, bound_method=True), unqualified_typehints=True), None


def setup(app):
    app.connect("autodoc-process-signature", of_init)
    return {"parallel_read_safe": True}
