"""JAX, which compiles whole steps."""

import contextlib

import jax
import jax.numpy as jnp
import keras
from keras import ops
from keras.src.backend.common.stateless_scope import in_stateless_scope

from flowkit.engines import jax_backprop
from flowkit.engines.jax_group import JaxGroup

_HARMLESS = ("broadcast_in_dim", "iota", "reshape", "squeeze", "copy", "stop_gradient", "transpose")


class JaxEngine(JaxGroup):
    """JAX."""

    name = "jax"

    # The engine itself

    def version(self):
        return jax.__version__

    def devices(self):
        return [f"{device.platform}:{device.id} ({device.device_kind})" for device in jax.devices()]

    @contextlib.contextmanager
    def float64(self):
        with super().float64(), jax.enable_x64(True):
            yield

    def lowest_float(self, function, *args, steps=None):
        found = set()

        def visit(jaxpr, caller=None):
            for eqn in jaxpr.eqns:
                # JAX caches what it has traced before, elsewhere: the caller knows the place.
                stack = caller or _stack(eqn)
                loops = eqn.primitive.name in ("scan", "while", "cond")
                for value in eqn.params.values():
                    for inner in value if isinstance(value, (tuple, list)) else (value,):
                        inner = getattr(inner, "jaxpr", inner)
                        if hasattr(inner, "eqns"):
                            visit(inner, None if loops else stack)
                if eqn.primitive.name in _HARMLESS:
                    continue
                narrowest = _narrowest(eqn.invars)
                if eqn.primitive.name == "convert_element_type" and narrowest <= _narrowest(eqn.outvars):
                    continue
                types = {str(v.aval.dtype) for v in eqn.outvars if jnp.issubdtype(v.aval.dtype, jnp.floating)}
                found.update(types)
                if steps is not None and narrowest in (0, 8):
                    steps.extend((name, stack) for name in types if jnp.dtype(name).itemsize < 8)

        visit(jax.make_jaxpr(function)(*args).jaxpr)
        return min(found, key=lambda name: jnp.dtype(name).itemsize, default="float64")

    # Functions with full precision: `keras.ops` rounds these to float32

    def arctan(self, x):
        return _keep(jnp.arctan, ops.arctan, x)

    def cos(self, x):
        return _keep(jnp.cos, ops.cos, x)

    def sin(self, x):
        return _keep(jnp.sin, ops.sin, x)

    def tanh(self, x):
        return _keep(jnp.tanh, ops.tanh, x)

    def lgamma(self, x):
        return jax.lax.lgamma(x)

    def mean(self, x, axis=None, keepdims=False):
        return _keep(jnp.mean, ops.mean, x, axis=axis, keepdims=keepdims)

    def unstack(self, x):
        return jnp.unstack(x)  # whose gradients are stacked; those of slices are padded and added

    # Loops

    def iterate(self, step, times, state, alive=None):
        if isinstance(jnp.zeros(()), jax.core.Tracer):  # part of what is compiled
            return super().iterate(step, times, state, alive)
        for _ in range(times):  # outside, JAX's loop compiles in each call, for a large part of a second
            if alive is not None and not alive(state):
                break
            state = step(state)
        return state

    def map_rows(self, function, x):
        return jax.vmap(function)(x)

    def scans(self):
        # Not on CPU, where XLA runs convolutions inside a loop forty times slower.
        return jax.default_backend() != "cpu"

    def scan(self, step, x, stacked, reverse):
        def body(x, row):
            y, log_det = step(x, row)
            return y, jnp.asarray(log_det, x.dtype)

        y, log_dets = jax.lax.scan(body, x, stacked, reverse=reverse)
        return y, jnp.sum(log_dets, axis=0)

    # Gradients

    def compile_pure(self, function):
        return jax.jit(function)

    def known(self, x):
        return None if isinstance(x, jax.core.Tracer) else ops.convert_to_numpy(x)

    def jacobian_products(self, function, x, directions):
        v, push = jax.linearize(function, x)
        return v, [push(direction) for direction in directions]

    def gradients(self, function, tensors):
        return jax.value_and_grad(function)(list(tensors))

    def compile_gradients(self, function):
        compiled = jax.jit(
            lambda tensors, *rest: jax.value_and_grad(lambda given: function(given, *rest))(tensors)
        )
        return lambda tensors, *rest: compiled(list(tensors), *rest)

    def compile_jacobian(self, function, layer):
        @jax.jit
        def pure(values, x, *args):
            def one(row, *rest):
                with keras.StatelessScope(state_mapping=list(zip(layer.variables, values, strict=True))):
                    return function(row[None], *jax.tree.map(lambda part: part[None], rest))[0].reshape(-1)

            return jax.vmap(jax.jacrev(one))(x, *args).reshape(x.shape[0], -1, x[0].size)

        def run(x, *args):
            values = [variable.value for variable in layer.variables]
            return pure(values, jnp.asarray(x), *jax.tree.map(jnp.asarray, args))

        return run

    def backprop(self, stretches, x, context, inverse, **options):
        return jax_backprop.backprop(stretches, x, context, inverse, loops=self.scans(), **options)

    # Answers without gradients: compiled as a whole

    def compiles_answers(self):
        return True

    def as_input(self, array):
        return array  # a compiled program takes it as it is, in a tenth of the time

    def compile_inference(self, function, layer):
        @jax.jit
        def pure(values, *args):
            scope = keras.StatelessScope(state_mapping=list(zip(layer.variables, values, strict=True)))
            with self.answering(), scope:
                return function(*args)

        def run(*args):
            held = [variable.value for variable in layer.variables]
            # This process holds all of each weight, and its answers are its own, whatever the others compute.
            return pure(
                [value.addressable_data(0) for value in held] if self.processes() > 1 else held, *args
            )

        return run

    def compile_fully(self, function, layer, *, thorough=False):
        return self.compile_inference(function, layer)

    # Training: Keras holds the weights outside of the model between two steps

    def holds_weights(self, model):
        held = bool(getattr(model, "_jax_state", None)) and not model._jax_state_synced
        return held and not in_stateless_scope()

    def settle(self, model):
        model.jax_state_sync()

    def after_fit(self, model):
        jax.effects_barrier()  # reports of drift
        # Averages that took the place of weights share their values, and the next step may overwrite each only once.
        seen = set()
        for variable in [*(model.optimizer.variables if model.optimizer else []), *model.variables]:
            if id(variable.value) in seen and not variable.value.is_deleted():
                variable.assign(jnp.copy(variable.value))
            seen.add(id(variable.value))


def _keep(own, op, x, **options):
    return (own if x.dtype == "float64" else op)(x, **options)


def _narrowest(variables):
    sizes = [v.aval.dtype.itemsize for v in variables if jnp.issubdtype(v.aval.dtype, jnp.floating)]
    return min(sizes, default=0)


def _stack(eqn):
    """Return (file, line, function) of each frame that made an equation, innermost last."""
    made = eqn.source_info.traceback
    return [] if made is None else [(f.file_name, f.line_num, f.function_name) for f in made.frames][::-1]
