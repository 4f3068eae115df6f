"""JAX, which compiles whole steps."""

import contextlib
import functools
import math
import os

import jax
import jax.numpy as jnp
import keras
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jax.experimental import multihost_utils
from keras import ops
from keras.src.backend.common.stateless_scope import in_stateless_scope

from flowkit.engines import jax_backprop
from flowkit.engines.base import Engine

_HEARTBEAT = 45  # seconds without one after which JAX ends the others
_DAYS = 7 * 24 * 3600  # the main process may still have much to do when the others have ended


class _Keys(keras.random.SeedGenerator):
    """The keys that a JAX key splits into. It has no variable, so that it can be made while JAX traces."""

    def __init__(self, key):
        self._key = key

    def next(self, ordered=True):
        self._key, seed = jax.random.split(self._key)
        return seed


class _Counted(keras.random.SeedGenerator):
    """The keys of a `SeedGenerator` of this seed. It counts on the host, where JAX would run some ten operations."""

    def __init__(self, seed):
        self._seed, self._count = seed, 0

    def next(self, ordered=True):
        self._count += 1
        return np.array([self._seed, self._count - 1], "uint32")


class JaxEngine(Engine):
    """JAX. The processes of a group run one program over the devices of all."""

    name = "jax"
    compiles_inference = True

    # The engine itself

    def devices(self):
        return [f"{device.platform}:{device.id} ({device.device_kind})" for device in jax.devices()]

    @contextlib.contextmanager
    def float64(self):
        with super().float64(), jax.enable_x64(True):
            yield

    # Functions with full precision: `keras.ops` rounds these to float32

    def function(self, name, x):
        return _keep(getattr(jnp, name), getattr(ops, name), x)

    def lgamma(self, x):
        return jax.lax.lgamma(x)

    def mean(self, x, axis=None, keepdims=False):
        return _keep(jnp.mean, ops.mean, x, axis=axis, keepdims=keepdims)

    def solve_triangular(self, a, b, lower):
        each = a.ndim > 2 and _on_cpu()
        return _solve_each(a, b, lower) if each else super().solve_triangular(a, b, lower)

    # Outside of what is compiled JAX would compile a program for each shape.

    def stack(self, rows):
        return jnp.asarray(np.stack(list(map(np.asarray, rows)))) if _are_numbers(*rows) else jnp.stack(rows)

    def unstack(self, x, axis=0):
        if axis == 0 and _are_numbers(x):
            return list(map(jnp.asarray, np.asarray(x)))
        return jnp.unstack(x, axis=axis)  # whose gradients are stacked; those of slices are padded and added

    def convolve(self, x, kernel, bias):
        if kernel.shape[0] == 1 or not _on_cpu():
            return super().convolve(x, kernel, bias)
        dtype = jnp.promote_types(x.dtype, kernel.dtype)  # as `keras.ops.conv`
        return _convolve(x.astype(dtype), kernel.astype(dtype)) + bias

    # Loops

    def iterate(self, step, times, state, alive=None):
        if self.traces():
            return super().iterate(step, times, state, alive)
        for _ in range(times):  # outside, JAX's loop compiles in each call, for a large part of a second
            if alive is not None and not alive(state):
                break
            state = step(state)
        return state

    def traces(self):
        return isinstance(jnp.zeros(()), jax.core.Tracer)

    def scans(self, layers):
        return not (_on_cpu() and any(isinstance(layer, _CONVOLUTIONS) for layer in layers))

    def scan(self, step, x, stacked, n, reverse):
        return jax.lax.scan(step, x, stacked, n, reverse=reverse)

    # Gradients

    def compile_pure(self, function):
        return jax.jit(function)

    def run_pure(self, function, *args):
        answer = jax.jit(function)(*args)
        jax.effects_barrier()
        return answer

    def tell(self, function, x):
        (jax_backprop.tell if isinstance(x, jax.core.Tracer) else super().tell)(function, x)

    def seeds(self, seed):
        return _Keys(seed) if isinstance(seed, jax.Array) else super().seeds(seed)

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

    def backprop(self, stretches, x, call, **options):
        return jax_backprop.backprop(stretches, x, call, **options)

    # Answers without gradients: compiled as a whole

    def as_input(self, array):
        return array  # a compiled program takes it as it is, in a tenth of the time

    def inference_function(self, function, layer, *, changes=True):
        @jax.jit
        def pure(values, *args):
            scope = keras.StatelessScope(state_mapping=list(zip(layer.variables, values, strict=True)))
            with self.no_grad(), scope:
                return function(*args)

        def run(*args):
            held = [variable.value for variable in layer.variables]
            # This process holds all of each weight, and its answers are its own, whatever the others compute.
            return pure(
                [value.addressable_data(0) for value in held] if self.processes() > 1 else held, *args
            )

        return run

    def compile_fully(self, function, layer, *, thorough=False):
        return self.inference_function(function, layer)

    # Training: Keras holds the weights outside of the model between two steps

    def holds_weights(self, model):
        held = bool(getattr(model, "_jax_state", None)) and not model._jax_state_synced
        return held and not in_stateless_scope()

    def settle(self, model):
        model.jax_state_sync()

    def after_fit(self, model):
        jax.effects_barrier()  # reports of drift
        # Averages that took the place of weights share their values, and the next step may overwrite each only once.
        optimizer, seen = getattr(model, "optimizer", None), set()  # a model without `compile` has none
        for variable in [*(optimizer.variables if optimizer else []), *model.variables]:
            if id(variable.value) in seen and not variable.value.is_deleted():
                variable.assign(jnp.copy(variable.value))
            seen.add(id(variable.value))

    # A group of processes

    def join(self, address, count, rank, local_rank, seconds):
        shown = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        alone = shown != "" and "," not in shown  # the launcher has given each process its device
        jax.config.update("jax_enable_preemption_service", False)  # it would keep SIGTERM from Python
        jax.distributed.initialize(
            address,
            count,
            rank,
            local_device_ids=None if alone or local_rank is None else [local_rank],
            cluster_detection_method="deactivate",
            initialization_timeout=math.ceil(seconds),
            heartbeat_timeout_seconds=_HEARTBEAT,
            shutdown_timeout_seconds=_DAYS,
        )
        self.use_devices()

    def draw_alone(self, draw, layer, seed):
        if self.processes() == 1:
            return draw(seed=_Counted(seed))
        with keras.StatelessScope([(own, own.value.addressable_data(0)) for own in layer.variables]):
            return draw(seed=_Counted(seed))

    def use_devices(self):
        if jax.device_count() > 1 and keras.distribution.distribution() is None:
            keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))

    def leave(self):
        if self.processes() > 1:
            jax.distributed.shutdown()
            keras.distribution.set_distribution(None)  # what is made from now on is this process's own

    def processes(self):
        # Asking JAX itself starts its devices.
        return jax.process_count() if jax.distributed.is_initialized() else 1

    def process_rank(self):
        return jax.process_index() if self.processes() > 1 else 0

    def exchange(self, data):
        if self.processes() == 1:
            return [data]
        # Bytes, since JAX makes an int32 of an int64.
        size = np.array([len(data)], "int64").view("uint8")
        sizes = np.asarray(multihost_utils.process_allgather(size)).view("int64")[:, 0]
        padded = np.frombuffer(data.ljust(max(1, int(sizes.max())), b"\0"), "uint8")
        parts = np.asarray(multihost_utils.process_allgather(padded))
        return [part[: int(size)].tobytes() for part, size in zip(parts, sizes, strict=True)]


def _on_cpu():
    return jax.default_backend() == "cpu"


@functools.partial(jax.jit, static_argnames="lower")
def _solve_each(a, b, lower):
    """Solve one system after another.

    jaxlib 0.10 gives the systems of one call to the threads that run such calls, and waits for them: two calls at once
    wait forever on two cores.
    """
    systems = [x.reshape(math.prod(x.shape[:-2]), *x.shape[-2:]) for x in (a, b)]
    found = jax.lax.map(lambda one: jax.scipy.linalg.solve_triangular(*one, lower=lower), systems)
    return found.reshape(b.shape)


# Keras's own: on CPU, XLA runs their gradients inside a loop ten times slower; those of `_convolve` it does not.
_CONVOLUTIONS = tuple(getattr(keras.layers, name) for name in dir(keras.layers) if "Conv" in name)

_IMAGES = "NHWC", "HWIO", "NHWC"  # the only order for which XLA has fast convolutions inside a loop on CPU


def _convolution(x, kernel, order):
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=order)


@jax.custom_jvp
def _convolve(x, kernel):
    """Return the convolution of `x` (n, h, w, c), as large as `x`; its gradients are convolutions in the same order.

    JAX makes gradients by turning a convolution round, with the order of its axes. So the tangents below have orders
    that become `_IMAGES` when they are turned round.
    """
    return _convolution(x, kernel, _IMAGES)


def _tangent(primals, tangents):
    (x, kernel), (along_x, along_kernel) = primals, tangents
    parts = []
    if not isinstance(along_x, SymbolicZero):
        parts.append(_convolution(along_x, jnp.swapaxes(kernel, 2, 3), ("NHWC", "HWOI", "NHWC")))
    if not isinstance(along_kernel, SymbolicZero):
        moved = jnp.transpose(x, (3, 1, 2, 0)), jnp.transpose(along_kernel, (2, 0, 1, 3))
        parts.append(jnp.transpose(_convolution(*moved, ("CHWN", "IHWO", "HWNC")), (2, 0, 1, 3)))
    return _convolve(x, kernel), sum(parts)


_convolve.defjvp(_tangent, symbolic_zeros=True)


def _keep(own, op, x, **options):
    return (own if x.dtype == "float64" else op)(x, **options)


def _are_numbers(*tensors):
    """Return True for tensors that JAX does not trace and that this process holds in full."""
    return not any(isinstance(x, jax.core.Tracer) or not x.is_fully_addressable for x in tensors)
