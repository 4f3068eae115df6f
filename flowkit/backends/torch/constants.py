"""Numbers that nothing changes, as tensors: copied to a device once."""

import itertools
import types

import torch
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack
from torch.utils._python_dispatch import _disable_current_modes


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
