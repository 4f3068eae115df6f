"""Gradients that save memory, on PyTorch."""

import torch

from flowkit.engines.replay import Replay, drift
from flowkit.engines.steps import one_by_one


@torch.compiler.disable  # its backward pass asks for gradients, which the compiler cannot follow
def backprop(stretches, x, call, *, invert, tolerance, on_drift):
    """See `Engine.backprop`."""
    parts, variables, values = zip(*one_by_one(stretches(), call.inverse, torch.unbind), strict=True)
    replay = Replay(parts, variables, call, invert)
    leaves = [*replay.shared(), *(value for some in values for value in some)]
    return _Replayed.apply((replay, tolerance, on_drift), x, *leaves)


class _Replayed(torch.autograd.Function):
    """(plan, x, *leaves of the context, *values of all variables) -> (y, log_det)."""

    @staticmethod
    def forward(ctx, plan, x, *leaves):
        replay = plan[0]
        y, total, inputs = replay.forward(x, *replay.unflatten(leaves))
        kept = [x, y] if replay.invert else inputs
        ctx.plan, ctx.kept = plan, len(kept)
        ctx.save_for_backward(*kept, *leaves)
        return y, total

    @staticmethod
    @torch.compiler.disable
    def backward(ctx, grad, log_det_grad):
        if torch.is_grad_enabled():  # with create_graph=True
            raise NotImplementedError("no second derivatives through this chain: use backprop='stored'")
        (replay, tolerance, on_drift), tensors = ctx.plan, ctx.saved_tensors
        # Detached, since the output came with the graph that has led here.
        kept, leaves = [tensor.detach() for tensor in tensors[: ctx.kept]], tensors[ctx.kept :]
        leaves = [
            leaf if leaf.is_leaf and leaf.requires_grad == needed else leaf.detach().requires_grad_(needed)
            for leaf, needed in zip(leaves, ctx.needs_input_grad[2:], strict=True)
        ]
        shared, values = replay.unflatten(leaves)
        state = kept[-1], grad, [None] * len(shared)
        (x, grad, more), own = replay.backward(state, kept, shared, values, log_det_grad, _pull)
        if replay.invert:
            error = float(drift(x, *kept))
            if not error <= tolerance:
                on_drift(error)
        return None, grad, *more, *(grad for some in own for grad in some)


def _pull(again, tensors, wanted, *grads):
    """See `Replay.backward`. None stands for a tensor without influence."""
    tensors[0].requires_grad_()
    with torch.enable_grad():
        y, *outputs = again(*tensors)
    pairs = [
        (value, grad.sum_to_size(value.shape))  # a log-det may be one number for all samples
        for value, grad in zip(outputs, grads, strict=True)
        if torch.is_tensor(value) and value.requires_grad
    ]
    values, grads = zip(*pairs, strict=True)
    sources = [tensor for tensor in tensors if tensor.requires_grad]
    found = iter(torch.autograd.grad(values, sources, grads, allow_unused=True))
    return y, [next(found) if tensor.requires_grad else None for tensor in tensors]
