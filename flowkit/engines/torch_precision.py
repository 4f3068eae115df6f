"""Find the precision in which PyTorch computes."""

import sys
import traceback

import torch
from torch.utils._python_dispatch import TorchDispatchMode

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
    """See `Engine.lowest_float`."""
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
    """Return (file, line, function) of each frame, innermost last."""
    return [(frame.f_code.co_filename, line, frame.f_code.co_name) for frame, line in stack][::-1]
