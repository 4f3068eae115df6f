"""What flowkit needs of PyTorch beyond `keras.ops`."""

import contextlib

import keras
import torch

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
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        yield
    finally:
        keras.config.set_floatx(before[0])
        keras.config.set_dtype_policy(before[1])


def compile_inference(function, layer):
    """`function` of tensors, without gradients; it reads `layer`'s weights as they are at each call.

    Left eager: `torch.compile` of a deep flow costs minutes before the first answer.
    """

    def run(*args):
        with torch.no_grad():
            return function(*args)

    return run


def jacobian(function, x):
    """d function(x)[i] / d x[i] for each sample i: (batch, outputs, inputs), flattened events."""

    def one(row):
        return function(row[None])[0].reshape(-1)

    x = keras.ops.convert_to_tensor(x).detach()
    rows = [torch.autograd.functional.jacobian(one, row).reshape(-1, row.numel()) for row in x]
    return torch.stack(rows)


def gradients(function, tensors):
    """The scalar `function(tensors)` and its gradient with respect to each tensor of the list."""
    with torch.enable_grad():
        leaves = [keras.ops.convert_to_tensor(t).detach().requires_grad_() for t in tensors]
        value = function(leaves)
        grads = torch.autograd.grad(value, leaves, allow_unused=True)
    grads = [torch.zeros_like(t) if g is None else g for g, t in zip(grads, leaves, strict=True)]
    return value.detach(), grads
