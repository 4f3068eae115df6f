"""In which precision JAX computes."""

import contextlib

import jax
import jax.numpy as jnp

from flowkit.backends.any import precision


@contextlib.contextmanager
def float64():
    """A scope in which new layers and tensors are float64, whatever the session's default."""
    with precision.float64(), jax.enable_x64(True):
        yield


_HARMLESS = ("broadcast_in_dim", "iota", "reshape", "squeeze", "copy", "stop_gradient", "transpose")


def lowest_float(function, *args, steps=None):
    """The name of the narrowest floating-point type in which `function(*args)` computes anything.

    `steps`, a list, receives (type, stack) for each step that answers in less than float64 without being given less:
    a stack is a list of (file, line, function), the innermost last. They are there also if the function then raises.
    """
    found = set()

    def visit(jaxpr, caller=None):
        for eqn in jaxpr.eqns:
            # What JAX has traced before, elsewhere, it takes from its cache: the caller knows the place.
            stack = caller or _stack(eqn)
            loops = eqn.primitive.name in ("scan", "while", "cond")
            for value in eqn.params.values():
                for inner in value if isinstance(value, (tuple, list)) else (value,):
                    inner = getattr(inner, "jaxpr", inner)
                    if hasattr(inner, "eqns"):
                        visit(inner, None if loops else stack)
            if eqn.primitive.name in _HARMLESS:
                continue
            widening = eqn.primitive.name == "convert_element_type" and _narrow(eqn.invars) <= _narrow(
                eqn.outvars
            )
            if widening:
                continue
            types = {str(v.aval.dtype) for v in eqn.outvars if jnp.issubdtype(v.aval.dtype, jnp.floating)}
            found.update(types)
            if steps is not None and _narrow(eqn.invars) in (0, 8):
                steps.extend((name, stack) for name in types if jnp.dtype(name).itemsize < 8)

    def _narrow(variables):
        sizes = [v.aval.dtype.itemsize for v in variables if jnp.issubdtype(v.aval.dtype, jnp.floating)]
        return min(sizes, default=0)

    visit(jax.make_jaxpr(function)(*args).jaxpr)
    return min(found, key=lambda name: jnp.dtype(name).itemsize, default="float64")


def _stack(eqn):
    """(file, line, function) of each frame that made an equation, the innermost last."""
    made = eqn.source_info.traceback
    return [] if made is None else [(f.file_name, f.line_num, f.function_name) for f in made.frames][::-1]
