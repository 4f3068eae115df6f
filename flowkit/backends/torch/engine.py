"""What flowkit needs of PyTorch beyond `keras.ops`."""

import contextlib
import itertools
import os
import sys
import traceback
import types

import keras
import torch
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from flowkit.backends.torch import recording

SUPPORTS_TRAINING = True


def version():
    """The engine's version."""
    return torch.__version__


def devices():
    """The devices that the engine sees, as text."""
    found = [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        found.append("mps")
    return [*found, f"cpu ({torch.get_num_threads()} threads)"]


def no_grad():
    """A scope in which no gradient is recorded."""
    return torch.no_grad()  # puts the global mode back at its end


@contextlib.contextmanager
def float64():
    """A scope in which new layers and tensors are float64, whatever the session's default."""
    before = keras.config.floatx(), keras.config.dtype_policy(), torch.get_default_dtype()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    torch.set_default_dtype(torch.float64)  # what torch's own functions make: `torch.linspace(0, 1, 5)`
    try:
        yield
    finally:
        keras.config.set_floatx(before[0])
        keras.config.set_dtype_policy(before[1])
        torch.set_default_dtype(before[2])


def constant(function, *args, like):
    """`function(*args)`, a numpy array that depends on nothing else, as a tensor of the type of `like`.

    Made once for each function, arguments, type and device, and kept: a copy to a GPU at each pass of each layer would
    cost more than what is computed with it. Nobody may change it. `torch.compile` reads it where it lies.
    """
    return getattr(_KEPT, _keep(function, args, like.dtype, like.device))


# Attributes: of a dictionary the compiler would guard the length as well, and compile anew for each entry.
_KEPT, _NAMES, _NUMBERS = types.SimpleNamespace(), {}, itertools.count()


@torch.compiler.assume_constant_result
def _keep(function, args, dtype, device):
    """The name under which it is kept. A tensor in its place would do, were two of them possible in one graph."""
    key = function, args, dtype, device
    if key not in _NAMES:
        # As if nobody were tracing, and so that autograd takes it: it outlives both.
        with torch.inference_mode(False), _disable_current_modes(), temporarily_clear_interpreter_stack():
            made = torch.as_tensor(function(*args), dtype=dtype, device=device)
        name = f"constant_{next(_NUMBERS)}"
        setattr(_KEPT, name, made)
        _NAMES[key] = name
    return _NAMES[key]


def convolve(x, kernel, bias):
    """`x` (batch, h, w, c) with `kernel` (k, k, c, features), k odd, plus `bias`: stride 1, zeros around, same size.

    `bias` is (features,), or a map (1, h, w, features).

    By views of the channels-last memory, which `keras.ops.conv` copies on both ways. Also for a 1x1 kernel,
    where a matrix product was 1.3 to 2 times slower on CPU. A map is not added in place while gradients are recorded:
    of a view that was changed autograd copies them.
    """
    flat = bias if bias.ndim == 1 else None
    padding = kernel.shape[0] // 2
    y = torch.nn.functional.conv2d(_first(x), kernel.permute(3, 2, 0, 1), flat, padding=padding)
    if flat is not None:
        return _last(y)
    if torch.compiler.is_compiling():
        return _last(y + _first(bias))
    y = _last(y)
    in_place = not torch.is_grad_enabled() and y.dtype == bias.dtype  # autocast has them differ
    return y.add_(bias) if in_place else y + bias


def rectify(x):
    """max(x, 0), if nobody else reads `x`: in its place, if the engine can.

    Without gradients to record that spares a third of the time of Glow's networks on CPU, most of it page faults.
    """
    if torch.compiler.is_compiling() and x.ndim == 4:
        return _last(torch.relu(_first(x)))
    return torch.relu(x) if torch.is_grad_enabled() else x.relu_()


# Channels first and last, as views. Where there are convolutions the compiler takes all tensors of four axes for images
# with channels first, and reorders in memory what it keeps of others: three times the time of a coupling on CPU.


def _first(x):
    return x.permute(0, 3, 1, 2)


def _last(x):
    return x.permute(0, 2, 3, 1)


def replicas():
    """How many replicas train one model, and each see the gradients of their own samples alone."""
    return 1


def replica_share(loss):
    """The share of one replica in `loss`, a mean over its own samples, if the engine adds up what replicas give."""
    return loss


def as_input(array):
    """A numpy array or a tensor in the form in which what `compile_inference` gives takes it."""
    return keras.ops.convert_to_tensor(array)


def compile_inference(function, layer):
    """`function` of tensors, without gradients; it reads `layer`'s weights as they are at each call.

    Left eager: `torch.compile` of a deep flow costs minutes before the first answer.
    """

    def run(*args):
        with recording.answering():
            return function(*args)

    return run


def gradients(function, tensors):
    """The scalar `function(tensors)` and its gradient with respect to each tensor of the list."""
    with torch.enable_grad():
        leaves = [keras.ops.convert_to_tensor(t).detach().requires_grad_() for t in tensors]
        value = function(leaves)
        if not value.requires_grad:  # a constant
            return value, [torch.zeros_like(t) for t in leaves]
        grads = torch.autograd.grad(value, leaves, allow_unused=True)
    grads = [torch.zeros_like(t) if g is None else g for g, t in zip(grads, leaves, strict=True)]
    return value.detach(), grads


def compile_jacobian(function, layer):
    """A function (x, *args) -> d function(x)[i] / d x[i] for each sample i: (batch, outputs, inputs).

    It reads `layer`'s weights as they are at each call, and compiles once for each shape if the engine can.
    """

    def run(x, *args):
        with torch.enable_grad():
            x = keras.ops.convert_to_tensor(x).detach().requires_grad_()
            y = function(x, *args).reshape(x.shape[0], -1)
            if not y.requires_grad:  # a constant
                return y.new_zeros(*y.shape, x[0].numel())
            rows = []
            for j in range(y.shape[1]):
                (row,) = torch.autograd.grad(y[:, j].sum(), x, retain_graph=True, allow_unused=True)
                rows.append(torch.zeros_like(x) if row is None else row)
        return torch.stack([row.reshape(x.shape[0], -1) for row in rows], dim=1)

    return run


def compile_gradients(function):
    """A function (tensors, *rest) -> the scalar `function(tensors, *rest)` and its gradients with respect to `tensors`.

    Compiled if the engine can.
    """
    return lambda tensors, *rest: gradients(lambda given: function(given, *rest), tensors)


def compile_fully(function, layer, *, thorough=False):
    """`function` of tensors through the engine's compiler, as a user would compile it; weights as at each call.

    `thorough` asks for all stages; the first ones alone are much quicker. Raises RuntimeError if
    the layer's own code breaks the graph in pieces.
    """
    from torch._dynamo.backends.debugging import ExplainWithBackend  # seconds, which eager use need not pay

    torch.compiler.reset()  # limits on recompilation are for each code object, which all layers share
    explained = ExplainWithBackend("inductor" if thorough else "eager")
    compiled = torch.compile(function, backend=explained, dynamic=False)

    def run(*args):
        answer = compiled(*args)
        for broken in explained.break_reasons:
            *_, last = [None, *broken.user_stack]
            own = [frame for frame in broken.user_stack if not frame.filename.startswith(_LIBRARIES)]
            # Keras itself breaks the graph in some ops, as where it makes a tensor of a numpy array; but not where
            # it is asked for numbers.
            asked = any(frame.name == "convert_to_numpy" for frame in broken.user_stack)
            if broken.graph_break and own and (last is own[-1] or asked):
                frame = own[-1]
                raise RuntimeError(
                    f"compiles, but not in one piece: {broken.reason.splitlines()[0]}\n"
                    f'File "{frame.filename}", line {frame.lineno}, in {frame.name}'
                )
        return answer

    return run


_LIBRARIES = tuple(os.path.dirname(module.__file__) + os.sep for module in (keras, torch))

_HARMLESS = (
    "detach",
    "view",
    "zeros",
    "ones",
    "full",
    "empty",
    "arange",
    "expand",
    "scalar_tensor",
    "eye",
    "lift_fresh",
)


def lowest_float(function, *args, steps=None):
    """The name of the narrowest floating-point type in which `function(*args)` computes anything.

    `steps`, a list, receives (type, stack) for each step that answers in less than float64 without being given less:
    a stack is a list of (file, line, function), the innermost last. They are there also if the function then raises.
    """
    found = set()
    steps = [] if steps is None else steps

    class Listen(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            name = func.overloadpacket.__name__
            given = [a.dtype.itemsize for a in args if torch.is_tensor(a) and a.dtype.is_floating_point]
            for out in result if isinstance(result, (tuple, list)) else (result,):
                if not torch.is_tensor(out) or not out.dtype.is_floating_point:
                    continue
                widening = name == "_to_copy" and min(given, default=0) <= out.dtype.itemsize
                if not widening and not name.startswith(_HARMLESS):
                    found.add(out.dtype)
                    if out.dtype.itemsize < 8 <= min(given, default=8):
                        stack = traceback.walk_stack(sys._getframe(1))
                        steps.append((_name(out.dtype), _plain(stack)))
            return result

    with torch.no_grad(), Listen():
        function(*args)
    lowest = min(found, key=lambda dtype: dtype.itemsize, default=torch.float64)
    return _name(lowest)


def _name(dtype):
    return str(dtype).removeprefix("torch.")


def _plain(stack):
    """(file, line, function) of each frame, the innermost last."""
    return [(frame.f_code.co_filename, line, frame.f_code.co_name) for frame, line in stack][::-1]


def lgamma(x):
    """log|Gamma(x)| for each entry, in the floating-point type of `x`."""
    return torch.lgamma(x)


def map_rows(function, x):
    """`function`, from one row of `x` to a tuple of tensors, for all rows: tuples of stacked tensors."""
    return torch.func.vmap(function)(x)
