"""What flowkit needs of JAX beyond `keras.ops`."""

import contextlib

import jax
import jax.numpy as jnp
import keras

from flowkit.backends.any import recording

SUPPORTS_TRAINING = True


def version():
    """The engine's version."""
    return jax.__version__


def devices():
    """The devices that the engine sees, as text."""
    return [f"{device.platform}:{device.id} ({device.device_kind})" for device in jax.devices()]


def no_grad():
    """A scope in which no gradient is recorded."""
    return contextlib.nullcontext()  # JAX records nothing unless asked


@contextlib.contextmanager
def float64():
    """A scope in which new layers and tensors are float64, whatever the session's default."""
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        with jax.enable_x64(True):
            yield
    finally:
        keras.config.set_floatx(before[0])
        keras.config.set_dtype_policy(before[1])


def constant(function, *args, like):
    """`function(*args)`, a numpy array that depends on nothing else, as a tensor of the type of `like`.

    For what is compiled it is a constant; nothing is kept, since a tensor of one trace must not get into another.
    """
    return keras.ops.convert_to_tensor(function(*args), dtype=like.dtype)


def convolve(x, kernel, bias):
    """`x` (batch, h, w, c) with `kernel` (k, k, c, features), k odd, plus `bias`: stride 1, zeros around, same size.

    `bias` is (features,), or a map (1, h, w, features).
    """
    if kernel.shape[0] == 1:
        return keras.ops.matmul(x, kernel[0, 0]) + bias
    return keras.ops.conv(x, kernel, padding="same", data_format="channels_last") + bias


def rectify(x):
    """max(x, 0), if nobody else reads `x`: in its place, if the engine can."""
    return keras.ops.relu(x)


def replicas():
    """How many replicas train one model, and each see the gradients of their own samples alone."""
    return 1


def replica_share(loss):
    """The share of one replica in `loss`, a mean over its own samples, if the engine adds up what replicas give."""
    return loss  # one mean over the samples of all devices


def as_input(array):
    """A numpy array or a tensor in the form in which what `compile_inference` gives takes it."""
    return array  # a compiled program takes it as it is, in a tenth of the time


def compile_inference(function, layer):
    """`function` of tensors, without gradients; it reads `layer`'s weights as they are at each call."""

    @jax.jit
    def pure(values, *args):
        scope = keras.StatelessScope(state_mapping=list(zip(layer.variables, values, strict=True)))
        with recording.answering(), scope:
            return function(*args)

    def run(*args):
        return pure([variable.value for variable in layer.variables], *args)

    return run


def gradients(function, tensors):
    """The scalar `function(tensors)` and its gradient with respect to each tensor of the list."""
    return jax.value_and_grad(function)(list(tensors))


def compile_jacobian(function, layer):
    """A function (x, *args) -> d function(x)[i] / d x[i] for each sample i: (batch, outputs, inputs).

    It reads `layer`'s weights as they are at each call, and compiles once for each shape if the engine can.
    """

    @jax.jit
    def pure(values, x, *args):
        def one(row, *rest):
            with keras.StatelessScope(state_mapping=list(zip(layer.variables, values, strict=True))):
                return function(row[None], *jax.tree.map(lambda part: part[None], rest))[0].reshape(-1)

        return jax.vmap(jax.jacrev(one))(x, *args).reshape(x.shape[0], -1, x[0].size)

    def run(x, *args):
        return pure([v.value for v in layer.variables], jnp.asarray(x), *jax.tree.map(jnp.asarray, args))

    return run


def compile_gradients(function):
    """A function (tensors, *rest) -> the scalar `function(tensors, *rest)` and its gradients with respect to `tensors`.

    Compiled if the engine can.
    """
    compiled = jax.jit(
        lambda tensors, *rest: jax.value_and_grad(lambda given: function(given, *rest))(tensors)
    )
    return lambda tensors, *rest: compiled(list(tensors), *rest)


def compile_fully(function, layer, *, thorough=False):
    """`function` of tensors through the engine's compiler, as a user would compile it; weights as at each call.

    `thorough` asks for all stages; the first ones alone are much quicker.
    """
    return compile_inference(function, layer)


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


def lgamma(x):
    """log|Gamma(x)| for each entry, in the floating-point type of `x`."""
    return jax.lax.lgamma(x)


def map_rows(function, x):
    """`function`, from one row of `x` to a tuple of tensors, for all rows: tuples of stacked tensors."""
    return jax.vmap(function)(x)
