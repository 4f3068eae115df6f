"""PyTorch, which runs eagerly: one call of its own where `keras.ops` would take several."""

import contextlib
import itertools
import os
import types

import keras
import torch
from keras import ops
from torch._C._functorch import maybe_current_level
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack
from torch.utils._python_dispatch import _disable_current_modes

from flowkit.engines import torch_backprop, torch_export
from flowkit.engines.torch_group import TorchGroup

_LIBRARIES = tuple(os.path.dirname(module.__file__) + os.sep for module in (keras, torch))
_FLOATS = (torch.float32, torch.float64)
_FEW = 32  # entries that are summed one after another


def _records_gradients():
    return torch.is_grad_enabled() or (
        not torch.compiler.is_compiling() and maybe_current_level() is not None
    )


class StepWindows:
    """Rows along the first axis, as `flowkit.engines.steps.StepWindows`: views, of as many rows as there are."""

    padding = 0

    def __init__(self, ends):
        self._ends = list(ends)
        self._counts = [end - start for start, end in itertools.pairwise([0, *self._ends])]

    def cut(self, x, columns=None):
        pieces = x.split(self._counts)
        if columns is None:
            return pieces
        return [piece[:, :end] for piece, end in zip(pieces, columns._ends, strict=True)]

    def at(self, cut, k):
        return cut[k]

    def known(self, x, k):
        return x.narrow(0, 0, self._ends[k])

    def written(self, x, k, rows):
        start, end = self._ends[k] - self._counts[k], self._ends[k]
        if torch.jit.is_tracing():  # for ONNX, which has no slice to scatter into
            return torch.cat([x[:start], rows.to(x.dtype), x[end:]])
        if _records_gradients() or torch.compiler.is_compiling():
            return torch.slice_scatter(x, rows.to(x.dtype), 0, start, end)
        x[start:end] = rows
        return x


class TorchEngine(TorchGroup):
    """PyTorch."""

    name = "torch"
    StepWindows = StepWindows
    backprop = staticmethod(torch_backprop.backprop)
    ways_to_write = staticmethod(torch_export.ways_to_write)
    write_graph = staticmethod(torch_export.write_graph)
    read_graph = staticmethod(torch_export.read_graph)

    # The engine itself

    def devices(self):
        found = [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
        if torch.backends.mps.is_available():
            found.append("mps")
        return [*found, f"cpu ({torch.get_num_threads()} threads)"]

    @contextlib.contextmanager
    def own_draws(self, seed):
        # Keras's data loader draws a number in each epoch, and `Dropout` without a seed all of its noise.
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            torch.manual_seed(seed)
            yield

    def gpu_build(self):
        if torch.version.cuda:
            return f"CUDA {torch.version.cuda}"
        return f"ROCm {torch.version.hip}" if torch.version.hip else None

    @contextlib.contextmanager
    def float64(self):
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)  # what torch's own functions make: `torch.linspace(0, 1, 5)`
        try:
            with super().float64():
                yield
        finally:
            torch.set_default_dtype(before)

    # Functions with full precision

    def softplus(self, x):
        return torch.nn.functional.softplus(x, threshold=50.0)  # beyond it, float64 too rounds to x

    def lgamma(self, x):
        return torch.lgamma(x)

    def cumsum(self, x, axis=None):
        x = ops.convert_to_tensor(x)
        if axis is not None and x.is_cpu and x.is_floating_point() and 1 < x.shape[axis] <= _FEW:
            # PyTorch's own reverses gradients twice, each time in new memory.
            return torch.stack(list(itertools.accumulate(x.unbind(axis))), axis)
        if x.dtype != torch.float64:
            return ops.cumsum(x, axis=axis)
        return torch.cumsum(x.flatten(), 0) if axis is None else torch.cumsum(x, axis)

    def matmul(self, x1, x2):
        # float32 too: `keras.ops` takes 30 us to find the types.
        if torch.is_tensor(x1) and torch.is_tensor(x2) and x1.dtype == x2.dtype in _FLOATS:
            return torch.matmul(x1, x2)
        x1, x2 = ops.convert_to_tensor(x1), ops.convert_to_tensor(x2)
        dtype = torch.promote_types(x1.dtype, x2.dtype)
        if dtype in _FLOATS:
            return torch.matmul(x1.to(dtype), x2.to(dtype))
        return ops.matmul(x1, x2)

    def mean(self, x, axis=None, keepdims=False):
        if x.dtype != torch.float64 or axis in ((), []):  # to torch no axis is all of them
            return ops.mean(x, axis=axis, keepdims=keepdims)
        return torch.mean(x, axis, keepdims)

    # Functions in one call: `keras.ops` takes three times as long

    def function(self, name, x):
        return getattr(torch, name)(x) if torch.is_tensor(x) else super().function(name, x)

    def concatenate(self, tensors):
        return torch.cat(tensors, -1)

    def split(self, x, sizes, axis=-1):
        # The gradients of all are then joined; those of slices are padded with zeros and added.
        return x.split_with_sizes(sizes, axis)

    def unstack(self, x, axis=0):
        # `Repeat` keeps the rows of a weight, also if it is first read in a scope without gradients.
        with torch.enable_grad():
            return x.unbind(axis)

    def reshape(self, x, shape):
        return x.reshape(shape)

    def transpose(self, x, axes):
        return x.permute(axes)

    def reaches(self, x, edges):
        return (x.detach() - edges.detach()).ge_(0.0)  # bools and their cast take eight times as long on CPU

    def log_sigmoid_and_sigmoid(self, x):
        return torch.nn.functional.logsigmoid(x), torch.sigmoid(x)

    def constant(self, function, *args, like):
        # Kept: a copy to a GPU in each pass of each layer would cost more than what is computed with it.
        return getattr(_KEPT, _keep(function, args, like.dtype, like.device))

    # Layers of networks

    def dense(self, x, kernel, bias):
        if x.ndim == 2 and x.dtype == kernel.dtype == bias.dtype:
            return torch.addmm(bias, x, kernel)
        return torch.matmul(x, kernel) + bias

    def convolve(self, x, kernel, bias):
        # By views of the channels-last memory, which `keras.ops.conv` copies on both ways. Also for a 1x1 kernel, for
        # which a matrix product was 1.3 to 2 times slower on CPU.
        return _last(_convolve(_first(x), kernel, bias, _in_place()))

    def convolve_in_turn(self, x, layers):
        # The output of a convolution is changed in place, also if gradients are recorded: no backward pass needs it.
        # Autograd would copy views that were changed; so all layers run with channels first, in one view.
        in_place, x = _in_place(), _first(x)
        for kernel, bias in layers[:-1]:
            x = _convolve(x, kernel, bias, in_place)
            x = x.relu_() if in_place else torch.relu(x)
        return _last(_convolve(x, *layers[-1], in_place))

    def scaled_kernel(self, kernel, scale):
        # (features, k, k, c): a convolution copies a kernel of another order in each call, and gradients come in this.
        return kernel.movedim(kernel.ndim - 1, kernel.ndim - 4).contiguous() * scale[..., :, None, None, None]

    def rectify(self, x):
        if x.ndim == 4 and torch.compiler.is_compiling():
            return _last(torch.relu(_first(x)))
        # In place saves a third of the time of Glow's networks on CPU, most of it page faults.
        return torch.relu(x) if torch.is_grad_enabled() else x.relu_()

    def layer_norm(self, x, scale, bias, epsilon):
        return torch.nn.functional.layer_norm(x.to(scale.dtype), scale.shape, scale, bias, epsilon)

    def attend(self, q, k, v, mask=None, twice=False):
        if twice or maybe_current_level() is not None:  # the kernel has neither forward mode nor `vmap`
            return super().attend(q, k, v, mask)
        # Half the time on CPU. It has no second derivatives, except in torch.nn.attention.sdpa_kernel(MATH).
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)

    # Loops

    def iterate(self, step, times, state, alive=None):
        # A graph made of what these rows need would stop too early for others.
        ends_early = alive is not None and not (torch.compiler.is_compiling() or torch.jit.is_tracing())
        for _ in range(times):
            if ends_early and not alive(state):
                break
            state = step(state)
        return state

    # Gradients

    no_grad = torch.no_grad  # puts the global mode back at its end

    def records_gradients(self):
        return _records_gradients()

    def known(self, x):
        if torch.compiler.is_compiling() or torch.jit.is_tracing() or maybe_current_level() is not None:
            return None
        return ops.convert_to_numpy(x)

    def jacobian_products(self, function, x, directions):
        if torch.compiler.is_compiling() or torch.jit.is_tracing() or maybe_current_level() is not None:
            return super().jacobian_products(function, x, directions)
        # Reverse mode takes less than half the time of forward mode.
        further = torch.is_grad_enabled()
        with torch.enable_grad():
            x = x if further and x.requires_grad else x.detach().requires_grad_()
            v = function(x)
            if not v.requires_grad:  # a constant
                return v, [torch.zeros_like(x) for _ in directions]
            options = {"create_graph": further, "retain_graph": True, "materialize_grads": True}
            products = [torch.autograd.grad(v, x, e, **options)[0] for e in directions]
        return (v if further else v.detach()), products

    def gradients(self, function, tensors):
        with torch.enable_grad():
            leaves = [ops.convert_to_tensor(t).detach().requires_grad_() for t in tensors]
            value = function(leaves)
            if not value.requires_grad:  # a constant
                return value, [torch.zeros_like(t) for t in leaves]
            grads = torch.autograd.grad(value, leaves, allow_unused=True)
        grads = [torch.zeros_like(t) if g is None else g for g, t in zip(grads, leaves, strict=True)]
        return value.detach(), grads

    # Answers without gradients: left eager, since `torch.compile` of a deep flow costs minutes before the first one

    def compile_fully(self, function, layer, *, thorough=False):
        """Raise RuntimeError if the layer's own code breaks the graph in pieces."""
        from torch._dynamo.backends.debugging import (
            ExplainWithBackend,  # seconds, which eager use need not pay
        )

        torch.compiler.reset()  # limits on recompilation are for each code object, which all layers share
        explained = ExplainWithBackend("inductor" if thorough else "eager")
        compiled = torch.compile(function, backend=explained, dynamic=False)

        def run(*args):
            answer = compiled(*args)
            for broken in explained.break_reasons:
                *_, last = [None, *broken.user_stack]
                own = [frame for frame in broken.user_stack if not frame.filename.startswith(_LIBRARIES)]
                # Keras itself breaks the graph in some ops, such as making a tensor of a numpy array; but not if
                # numbers are read.
                asked = any(frame.name == "convert_to_numpy" for frame in broken.user_stack)
                if broken.graph_break and own and (last is own[-1] or asked):
                    frame = own[-1]
                    raise RuntimeError(
                        f"compiles, but not in one piece: {broken.reason.splitlines()[0]}\n"
                        f'File "{frame.filename}", line {frame.lineno}, in {frame.name}'
                    )
            return answer

        return run


# Convolutions with channels first, as views. Where there are convolutions the compiler takes all tensors of four axes
# for images with channels first, and reorders in memory what it keeps of others: three times the time of a coupling on
# CPU.


def _convolve(x, kernel, bias, in_place):
    flat, padding, kernel = bias.ndim == 1, kernel.shape[1] // 2, _first(kernel)
    # A kernel with one output is in both orders of memory at once, and second derivatives take the wrong one.
    if kernel.shape[0] == 1:
        kernel = kernel.contiguous()
    y = torch.conv2d(x, kernel, bias if flat else None, padding=padding)
    if flat:
        return y
    bias = _first(bias)
    return y.add_(bias) if in_place and y.dtype == bias.dtype else y + bias  # autocast has types differ


def _in_place():
    """Return whether a new tensor may be changed in place. (`vmap` cannot change one that it does not see.)"""
    return not torch.compiler.is_compiling() and maybe_current_level() is None


def _first(x):
    return x.permute(0, 3, 1, 2)


def _last(x):
    return x.permute(0, 2, 3, 1)


# Constants, as attributes: of a dictionary the compiler would guard the length too, and recompile for each entry.
_KEPT, _NAMES, _NUMBERS = types.SimpleNamespace(), {}, itertools.count()


@torch.compiler.assume_constant_result
def _keep(function, args, dtype, device):
    """Return the name of a constant in `_KEPT`. One graph could not hold several tensors in place of names."""
    key = function, args, dtype, device
    if key not in _NAMES:
        # Outside of any trace, and so that autograd takes it: it outlives both.
        with torch.inference_mode(False), _disable_current_modes(), temporarily_clear_interpreter_stack():
            made = torch.as_tensor(function(*args), dtype=dtype, device=device)
        name = f"constant_{next(_NUMBERS)}"
        setattr(_KEPT, name, made)
        _NAMES[key] = name
    return _NAMES[key]
