"""What depends on weights alone, on PyTorch: alike parts derive at once, in operations that are traced once."""

import contextlib
import contextvars
import threading

import keras
import torch
from torch._C._functorch import maybe_current_level
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

_KEPT = contextvars.ContextVar("derived", default=None)
_TRACING = threading.Lock()


def derives_together():
    """Whether parts that are alike derive at once, now."""
    return not (torch.compiler.is_compiling() or maybe_current_level() or is_in_torch_dispatch_mode())


@contextlib.contextmanager
def deriving_once():
    """A scope without changes of weights, in which what is derived without gradients is derived once."""
    if _KEPT.get() is not None:  # a part of another
        yield
        return
    token = _KEPT.set({})
    try:
        yield
    finally:
        _KEPT.reset(token)


def kept_for_this_call():
    """A dictionary of what was derived in this scope; outside of one, or with gradients, an empty one."""
    kept = _KEPT.get()
    return {} if kept is None or torch.is_grad_enabled() else kept


def derive_alike(derive, variables, columns):
    """A function () -> for each list of `variables` the tensors of `derive()`, which reads the first list.

    The weights of all are stacked. What runs on the stacks are the engine's own operations, as `vmap` of `derive`
    calls them: a trace, without `vmap` and Keras around them, which cost more than what small weights need.
    """
    own, traced = list(zip(*variables, strict=True)) if len(variables) > 1 else [], {}

    def one(*values):
        with keras.StatelessScope(list(zip(variables[0], values, strict=True))):
            return derive()

    def run():
        if not own:  # one part alone; or alike parts without weights, which are the same
            return [derive()] * len(variables)
        first = variables[0][0].value
        if first.is_meta:  # Keras asks for shapes: a trace would keep constants without numbers
            return [one(*(variable.value for variable in some)) for some in variables]
        stacks = [torch.stack([variable.value for variable in column]) for column in own]
        # A trace has autocast's conversions in it, and constants on its device.
        device = stacks[0].device
        autocast = torch.is_autocast_enabled(device.type)
        low = torch.get_autocast_dtype(device.type) if autocast else None
        kind = (*(tensor.dtype for tensor in stacks), device, low)
        if kind not in traced:
            with _TRACING:
                traced[kind] = _traced(torch.func.vmap(one), [tensor.detach().clone() for tensor in stacks])
        return list(zip(*(tensor.unbind(0) for tensor in traced[kind](*stacks)), strict=True))

    return run


_SHAPING = torch.ops.aten.expand.default, torch.ops.aten.view.default, torch.ops.aten._unsafe_view.default


def _traced(function, args):
    """`function` as a graph of the engine's operations, in which those on constants are done, and none does nothing."""
    from torch.fx.experimental.proxy_tensor import make_fx  # a second, which nobody else need pay

    module = make_fx(function)(*args)
    graph, known = module.graph, {}
    with torch.no_grad():
        for node in list(graph.nodes):
            if node.op == "get_attr":
                known[node] = getattr(module, node.target)
            elif node.op == "call_function" and all(given in known for given in node.all_input_nodes):
                given, options = torch.fx.node.map_arg((node.args, node.kwargs), known.__getitem__)
                known[node] = node.target(*given, **options)
    for i, (node, value) in enumerate(known.items()):
        if torch.is_tensor(value) and any(user not in known for user in node.users):
            module.register_buffer(f"known_{i}", value)
            with graph.inserting_before(node):
                node.replace_all_uses_with(graph.get_attr(f"known_{i}"))
    for node in graph.nodes:
        if node.target in _SHAPING and node.meta["val"].shape == node.args[0].meta["val"].shape:
            node.replace_all_uses_with(node.args[0])
    graph.eliminate_dead_code()
    module.recompile()
    return module.forward


def add_up(log_dets):
    """The sum of log-dets, each a number, a scalar or (batch,)."""
    if torch.compiler.is_exporting():  # shapes are no keys there
        return sum(log_dets, 0.0)
    kinds = {}
    for log_det in log_dets:
        kinds.setdefault(getattr(log_det, "shape", None), []).append(log_det)
    total = 0.0
    for shape, some in kinds.items():
        total = total + (sum(some) if shape is None or len(some) == 1 else torch.stack(some).sum(0))
    return total
