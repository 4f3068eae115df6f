"""A device of torch's own making that computes on the CPU.

Torch lends the name "card" to a backend written in Python. To torch a tensor there lies on another device: it
cannot become numpy, it does not mix with tensors on the CPU, its backward pass runs in a thread of the device's.

`install()` before Keras is imported; all that Keras makes is then on the card. There is one card, for as long as the
process lives. torch calls what it is made with experimental: if that is missing, `missing()` says so.
"""

import functools
import os

import torch
from torch.utils import _pytree as trees

NAME = "card"
DEVICE = torch.device("cpu")  # until it is installed

# They make an empty tensor and let it grow, which the size that torch is shown would not.
_GROWING = ("arange", "eye", "linspace", "randperm")
# What torch lets read an index on the CPU.
_INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_"}


class OnCard(torch.Tensor):
    """A tensor of the card's; `on_host` holds its numbers."""

    @staticmethod
    def __new__(cls, values):
        tensor = torch.Tensor._make_wrapper_subclass(
            cls,
            values.size(),
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            device=DEVICE,
        )
        tensor.on_host = values
        return tensor

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return _run(function, *args, **(kwargs or {}))

    def __repr__(self):
        return f"OnCard({self.on_host!r})"


def missing():
    """Why there can be no card, or None."""
    from torch.utils import backend_registration

    if hasattr(backend_registration, "_setup_privateuseone_for_python_backend"):
        return None
    return f"torch {torch.__version__} takes no backend written in Python"


def install():
    """Make the card, and have Keras put everything on it."""
    global DEVICE
    from torch.fx.experimental import proxy_tensor
    from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

    _setup_privateuseone_for_python_backend(NAME)
    DEVICE = torch.device(NAME, 0)
    library = torch.library.Library("_", "IMPL")
    library.fallback(_run, "PrivateUse1")  # what makes tensors from nothing
    aten = torch.library.Library("aten", "IMPL")
    for name in _GROWING:
        for overload in getattr(torch.ops.aten, name).overloads():
            function = getattr(getattr(torch.ops.aten, name), overload)
            if not overload.endswith("out"):
                aten.impl(function.name(), functools.partial(_run, function), "PrivateUse1")
    install.libraries = library, aten  # they live as long as the process
    # Numbers, too, become tensors of the CPU first, and are then copied.
    torch._C._set_only_lift_cpu_tensors(True)
    # A trace takes a constant of another type than torch's own for none of its business, and what follows for constant.
    proxy_tensor.HANDLED_TYPES = (*proxy_tensor.HANDLED_TYPES, OnCard)
    torch.Generator = _Generator
    os.environ["KERAS_TORCH_DEVICE"] = str(DEVICE)


class _Generator(torch.Generator):
    """Random numbers of the card's come from the CPU's generator: torch asks a Python backend for none."""

    def __new__(cls, device="cpu"):
        return torch._C.Generator.__new__(torch._C.Generator, device="cpu")


def _run(function, *args, **kwargs):
    """Any function of torch's that the card takes part in."""
    name = function.overloadpacket.__name__
    flat, spec = trees.tree_flatten((args, kwargs))
    tensors = [leaf for leaf in flat if isinstance(leaf, torch.Tensor)]
    ours = [tensor for tensor in tensors if isinstance(tensor, OnCard)]
    others = [tensor for tensor in tensors if not isinstance(tensor, OnCard)]
    to_card = _look(name, args, kwargs, ours, others)
    inner = [leaf.on_host if isinstance(leaf, OnCard) else _host(leaf) for leaf in flat]
    inner_args, inner_kwargs = trees.tree_unflatten(inner, spec)
    answer = function(*inner_args, **inner_kwargs)
    if not to_card:
        return answer
    known = {id(tensor.on_host): tensor for tensor in ours}  # what was changed in place

    def placed(leaf):
        if not isinstance(leaf, torch.Tensor):
            return leaf
        return known[id(leaf)] if id(leaf) in known else OnCard(leaf)

    return trees.tree_map(placed, answer)


def _look(name, args, kwargs, ours, others):
    """Refuse what torch refuses; return whether the answer is on the card."""
    if name == "copy_":
        return isinstance(args[0], OnCard)
    wanted = kwargs.get("device")
    if name == "_to_copy" and wanted is not None:
        return torch.device(wanted).type == NAME
    if (
        name not in _INDEXED and ours and any(tensor.ndim for tensor in others)
    ):  # a number may come from the CPU
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found at least two devices, {DEVICE} and cpu! "
            f"({name})"
        )
    return name not in ("_local_scalar_dense", "equal", "is_nonzero")


def _host(leaf):
    """An argument as the CPU takes it."""
    return torch.device("cpu") if isinstance(leaf, torch.device) and leaf.type == NAME else leaf
