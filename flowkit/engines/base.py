"""What every engine can do, in terms of `keras.ops`; engines override what they do better or in another way."""

import contextlib
import contextvars
import logging
import sys

import keras
import numpy as np
from keras import ops

from flowkit.engines.steps import StepWindows

_WITHOUT_GRADIENTS = contextvars.ContextVar("without_gradients", default=False)


class Engine:
    """An engine of Keras, as flowkit uses it. The methods here are the defaults."""

    name: str  # Keras's name of it
    compiles_inference = False  # True if `inference_function` compiles for each number of rows
    StepWindows = StepWindows

    # The engine itself

    def version(self):
        """Return the engine's version."""
        return sys.modules[self.name].__version__

    def devices(self):
        """Return the devices that the engine sees, as text."""
        raise NotImplementedError

    def gpu_build(self):
        """Return the GPUs that this build supports, as text; None for none, or if the engine reports it itself."""
        return None

    def use_devices(self):
        """Spread batches over all devices that the engine sees, if one of its processes can."""

    def replicas(self):
        """Return the number of replicas that train one model and see only the gradients of their own samples."""
        return 1

    def replicas_of(self, model):
        """Return the context in which variables are made for all replicas of a model."""
        return contextlib.nullcontext()

    def replica_share(self, loss):
        """Return the share of one replica in `loss`, a mean over its own samples, if the engine adds up replicas."""
        return loss

    # Precision

    @contextlib.contextmanager
    def float64(self):
        """Enter a scope in which new layers and tensors are float64, whatever the session's default."""
        before = keras.config.floatx(), keras.config.dtype_policy()
        keras.config.set_floatx("float64")
        keras.config.set_dtype_policy("float64")
        try:
            yield
        finally:
            keras.config.set_floatx(before[0])
            keras.config.set_dtype_policy(before[1])

    # Functions with full precision: engines override those that `keras.ops` rounds to float32

    def function(self, name, x):
        """Return a function of each entry: "arctan", "cos", "exp", "sin" or "tanh"."""
        return getattr(ops, name)(x)

    def softplus(self, x):
        """Return log(1 + exp(x)), exact in both tails."""
        return -ops.log_sigmoid(-x)

    def lgamma(self, x):
        """Return log|Gamma(x)| in the floating-point type of `x`."""
        raise NotImplementedError

    def cumsum(self, x, axis=None):
        """Return running sums along an axis; None: of all entries, flattened."""
        return ops.cumsum(x, axis=axis)

    def matmul(self, x1, x2):
        """Return the matrix product."""
        return ops.matmul(x1, x2)

    def solve_triangular(self, a, b, lower):
        """Return a^-1 b for triangular matrices `a` (..., n, n) and `b` (..., n, k) with the same leading axes."""
        return ops.solve_triangular(a, b, lower=lower)

    def mean(self, x, axis=None, keepdims=False):
        """Return the mean over an axis, several, or all (None)."""
        return ops.mean(x, axis=axis, keepdims=keepdims)

    # Functions that cost more through `keras.ops` than through the engine

    def concatenate(self, tensors):
        """Join tensors on the last axis."""
        return ops.concatenate(tensors, axis=-1)

    def split(self, x, sizes, axis=-1):
        """Cut `x` along an axis, into parts of these sizes."""
        return ops.split(x, np.cumsum(sizes)[:-1].tolist(), axis=axis)

    def stack(self, rows):
        """Return tensors as rows of one."""
        return ops.stack(rows)

    def unstack(self, x, axis=0):
        """Return the slices of `x` along an axis, without that axis."""
        return ops.unstack(x, axis=axis)

    def reshape(self, x, shape):
        """Return `x` in another shape."""
        return ops.reshape(x, shape)

    def transpose(self, x, axes):
        """Return `x` with its axes in another order."""
        return ops.transpose(x, axes)

    def reaches(self, x, edges):
        """Return 1.0 where x >= edge, 0.0 elsewhere and for NaN; without gradients."""
        return ops.cast(x >= edges, x.dtype)

    def log_sigmoid_and_sigmoid(self, x):
        """Return (log sigmoid x, sigmoid x), each computed from x."""
        return ops.log_sigmoid(x), ops.sigmoid(x)

    def tensor(self, variable):
        """Return the value of a Keras variable as a tensor of the engine."""
        return variable.value

    def constant(self, function, *args, like):
        """Return `function(*args)`, an array that depends on nothing else, as a tensor of the type of `like`.

        Nothing may change it. In compiled programs it is a constant; nothing is kept, since a tensor of one trace must
        not get into another.
        """
        return ops.convert_to_tensor(function(*args), dtype=like.dtype)

    # Layers of networks

    def dense(self, x, kernel, bias):
        """Return x W + b on the last axis."""
        return ops.matmul(x, kernel) + bias

    def convolve(self, x, kernel, bias):
        """Convolve `x` (batch, h, w, c) with an odd `kernel` of `scaled_kernel`, and add `bias`.

        Stride 1, zeros around, same size. `bias` is (features,), or a map (1, h, w, features).
        """
        if kernel.shape[0] == 1:
            return ops.matmul(x, kernel[0, 0]) + bias
        return ops.conv(x, kernel, padding="same", data_format="channels_last") + bias

    def scaled_kernel(self, kernel, scale):
        """Return `kernel` (..., k, k, c, features) times `scale` (..., features), as `convolve` takes it."""
        return kernel * scale[..., None, None, None, :]

    def convolve_in_turn(self, x, layers):
        """Apply several `convolve` to `x`, with max(., 0) between; `layers` are their (kernel, bias)."""
        for kernel, bias in layers[:-1]:
            x = self.rectify(self.convolve(x, kernel, bias))
        return self.convolve(x, *layers[-1])

    def rectify(self, x):
        """Return max(x, 0); it may overwrite `x`, which nothing else may read."""
        return ops.relu(x)

    def layer_norm(self, x, scale, bias, epsilon):
        """Return (x - mean) / sqrt(variance + epsilon) * scale + bias over the last axis, in the type of `scale`."""
        x = ops.cast(x, scale.dtype)
        x = x - self.mean(x, axis=-1, keepdims=True)
        return x * ops.rsqrt(self.mean(ops.square(x), axis=-1, keepdims=True) + epsilon) * scale + bias

    def attend(self, q, k, v, mask=None, twice=False):
        """Return softmax(q k^T / sqrt(d)) v for queries (..., n, d), keys (..., m, d) and values (..., m, d).

        `mask`, of bools that broadcast to (..., n, m), is True for what a query may attend to. `twice` asks for second
        derivatives.
        """
        scores = self.matmul(q * q.shape[-1] ** -0.5, ops.swapaxes(k, -1, -2))
        if str(v.dtype).endswith("float16"):
            scores = ops.cast(scores, "float32")
        if mask is not None:
            scores = ops.where(mask, scores, ops.full_like(scores, -1e9))
        return self.matmul(ops.cast(ops.softmax(scores), v.dtype), v)

    # Loops

    def iterate(self, step, times, state, alive=None):
        """Apply `step`, a function of `state`, so many times; fewer if `alive(state)` becomes false.

        With `alive` there are no gradients, and an engine may go on to the end.
        """
        if alive is not None:
            return ops.while_loop(
                lambda k, state: ops.logical_and(k < times, alive(state)),
                lambda k, state: (k + 1, step(state)),
                (ops.convert_to_tensor(0), state),
            )[1]
        return ops.fori_loop(0, times, lambda _, state: step(state), state)

    def traces(self):
        """Return True while a program is made, whose loops are traced."""
        return False

    def scans(self, layers):
        """Return True if programs compile alike copies of `layers`, any iterable, once by `scan`, and that pays."""
        return False

    def scan(self, step, x, stacked, n, reverse):
        """Apply `step(x, row)`, which returns (x, nest), to the n rows of a nest of tensors: (x, stacked nests)."""
        raise NotImplementedError

    # Gradients

    @contextlib.contextmanager
    def no_grad(self):
        """Enter a scope whose results need no gradients."""
        token = _WITHOUT_GRADIENTS.set(True)
        try:
            yield
        finally:
            _WITHOUT_GRADIENTS.reset(token)

    def records_gradients(self):
        """Return True if gradients of what is computed now may be taken."""
        return not _WITHOUT_GRADIENTS.get()

    def compile_pure(self, function):
        """Return `function`, which depends on its nests of tensors alone; compiled if single operations are slow."""
        return function

    def run_pure(self, function, *args):
        """Return `function(*args)`, which depends on its nests of tensors alone; as one program, as `compile_pure`.

        What it passed to `tell` has been told then. Raises TypeError if it reads numbers where a program is made.
        """
        return function(*args)

    def tell(self, function, x):
        """Call `function` with the numbers of a tensor, which a compiled program has only when it runs."""
        function(ops.convert_to_numpy(x))

    def seeds(self, seed):
        """Return a generator of seeds from a whole number; on JAX also from a key. Others are returned unchanged."""
        return keras.random.SeedGenerator(seed) if isinstance(seed, int) else seed

    def own_draws(self, seed):
        """Enter a scope in which the engine's global generator, if Keras draws from it, starts from `seed`."""
        return contextlib.nullcontext()

    def known(self, x):
        """Return the numbers of a tensor as numpy, or None while a compiled program is made, which has none yet."""
        return ops.convert_to_numpy(x)

    def jacobian_products(self, function, x, directions):
        """Return (v, products) for v = function(x), of the shape of `x`: for each direction e, J e or J^T e.

        J is dv/dx of each sample, so that e . product is e^T J e either way. All of it has gradients.
        """
        pairs = [ops.jvp(function, (x,), (direction,)) for direction in directions]
        return pairs[0][0], [product for _, product in pairs]

    def gradients(self, function, tensors):
        """Return the scalar `function(tensors)` and its gradient with respect to each tensor of the list."""
        raise NotImplementedError

    def compile_gradients(self, function):
        """Return a function (tensors, *rest) -> the scalar `function(tensors, *rest)`, its gradients by `tensors`.

        Compiled if the engine can.
        """
        return lambda tensors, *rest: self.gradients(lambda given: function(given, *rest), tensors)

    def backprop(self, stretches, x, call, *, invert, tolerance, on_drift):
        """Run bijectors one after another, with a backward pass that runs each of them once more: (y, log_det).

        `stretches()` returns the list of `Stretch`es, in the order of the forward direction. `call` is a
        `flowkit.contract.call.Call`, whose context may be a nest of tensors.

        Of all activations only the output is kept, from which each part's input is found by inversion, if `invert`;
        otherwise each part's input. The backward pass calls `on_drift(error)` if the first input, found by inversion,
        has a relative error (in the Euclidean norm) above `tolerance`.
        """
        raise NotImplementedError

    # Answers without gradients

    def as_input(self, array):
        """Return a numpy array or a tensor in the form that the function of `inference_function` takes."""
        return ops.convert_to_tensor(array)

    def inference_function(self, function, layer, *, changes=True):
        """Return `function` of tensors, without gradients; it reads `layer`'s weights as they are at each call.

        `changes` False says that nothing in it adds losses or assigns to weights, which are dropped otherwise.
        """

        def run(*args):
            # A scope makes each weight slower to read.
            with self.no_grad(), keras.StatelessScope() if changes else contextlib.nullcontext():
                return function(*args)

        return run

    def compile_fully(self, function, layer, *, thorough=False):
        """Return `function` of tensors through the engine's compiler, as users compile it; weights as at each call.

        `thorough` runs all stages; the first ones alone are much quicker.
        """
        raise NotImplementedError

    # Training

    def average_gradients(self, optimizer):
        """Let `optimizer` average gradients over the processes of a group, if each process has its own gradients."""

    def holds_weights(self, model):
        """Return True if the engine, between two steps, holds the weights of `model` outside of it."""
        return False

    def settle(self, model):
        """Put weights that the engine holds between two steps back into `model`."""

    def after_fit(self, model):
        """Finish what `fit` has left on the device: deliver reports, and give each weight a value of its own."""

    # A group of processes that train one model

    def join(self, address, count, rank, local_rank, seconds):
        """Join the group of `count` processes at `address` ("host:port"), and wait `seconds` for the others.

        `address` None lets the launcher connect them. `local_rank` is the number among the processes of this host; None
        if this process has all devices of the host.
        """
        raise NotImplementedError(
            f"distributed: got a group of {count} processes on {self.name}, expected PyTorch or JAX for several. Set "
            "KERAS_BACKEND to torch or jax, or start one process."
        )

    def leave(self):
        """Leave the group, as all processes do now."""

    def processes(self):
        """Return the number of processes that have joined to train one model."""
        return 1

    def process_rank(self):
        """Return the number of this process in its group, from 0."""
        return 0

    def exchange(self, data):
        """Return the bytes of each process, in the order of their ranks."""
        return [data]

    def copy_from_main(self, variables):
        """Set `variables` to their values in process 0, if each process has its own."""

    def summed(self, tensors):
        """Add up tensors over the processes, unless they are those of all of them already."""
        return tensors

    def left_to_main(self, variables):
        """Set `variables`, sums that each process has of its own, to 0 in all but process 0, which has those of all."""

    def drawing_apart(self, states):
        """Enter a scope in which processes draw different numbers from equal seeds, whose `states` are given.

        Process 0 draws what the seeds say. Nothing changes if one program draws for all.
        """
        return contextlib.nullcontext()

    def draw_alone(self, draw, layer, seed):
        """Return `draw(seed=generator)`, a generator of `seed`, from this process's own copy of `layer`'s weights.

        So no other process has to draw at the same time.
        """
        return draw(seed=keras.random.SeedGenerator(seed, name="latents"))

    # Files that need no flowkit

    def ways_to_write(self, format):
        """Return the number of ways to write a format: the quickest first."""
        return 1

    def write_graph(self, model, path, format, inputs, way=0):
        """Write `model`, a `keras.Model`, for any number of rows; `inputs` are name -> an array of a few rows.

        The model gets a list of several inputs.
        """
        specs = [
            keras.InputSpec(shape=(None, *array.shape[1:]), dtype=array.dtype.name, name=name)
            for name, array in inputs.items()
        ]
        # It logs a line for each scalar that JAX leaves untyped; the file is compared with the flow anyway.
        with quiet("onnx_ir"):
            signature = [specs] if len(specs) > 1 else specs
            named = {"saved_model": "tf_saved_model"}.get(format, format)
            model.export(path, format=named, input_signature=signature, verbose=False)

    def read_graph(self, path, format):
        """Return a function (name -> array) -> list of arrays that runs a file of a format of the engine's own."""
        raise NotImplementedError


@contextlib.contextmanager
def quiet(name):
    """Enter a scope in which the logger of this name logs errors alone."""
    log = logging.getLogger(name)
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)
