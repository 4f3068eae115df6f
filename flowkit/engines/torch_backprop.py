"""Gradients that save memory, on PyTorch."""

import contextlib
from typing import Any, NamedTuple

import keras
import torch
from keras import tree

from flowkit.engines.steps import one_by_one


@torch.compiler.disable  # its backward pass asks for gradients, which the compiler cannot follow
def backprop(stretches, x, context, inverse, *, invert, tolerance, on_drift):
    """See `Engine.backprop`."""
    parts, variables, values = zip(*one_by_one(stretches(), inverse, torch.unbind), strict=True)
    plan = _Plan(parts, variables, context, inverse, invert, tolerance, on_drift)
    return _Replay.apply(plan, x, *plan.context_leaves(), *(value for some in values for value in some))


class _Plan(NamedTuple):
    parts: tuple
    variables: tuple  # of each part
    context: Any
    inverse: bool
    invert: bool
    tolerance: float
    on_drift: Any

    def context_leaves(self):
        return [] if self.context is None else tree.flatten(self.context)

    def deal(self, leaves):
        """Return (context, its leaves, the values of each part's variables) from the leaves of all."""
        leaves = iter(leaves)
        shared = [next(leaves) for _ in self.context_leaves()]
        values = [[next(leaves) for _ in some] for some in self.variables]
        context = None if self.context is None else tree.pack_sequence_as(self.context, shared)
        return context, shared, values


class _Replay(torch.autograd.Function):
    """(plan, x, *leaves of the context, *values of all variables) -> (y, log_det)."""

    @staticmethod
    def forward(ctx, plan, x, *leaves):
        inputs, total = [], x.new_zeros(())
        context, _, values = plan.deal(leaves)
        for part, variables, own in zip(plan.parts, plan.variables, values, strict=True):
            inputs.append(x)
            with _holding(variables, own):
                x, log_det = part.run(x, context, inverse=plan.inverse)
            total = total + log_det
        kept = [inputs[0], x] if plan.invert else inputs
        ctx.plan, ctx.kept = plan, len(kept)
        ctx.save_for_backward(*kept, *leaves)
        return x, total

    @staticmethod
    @torch.compiler.disable
    def backward(ctx, grad, log_det_grad):
        if torch.is_grad_enabled():  # with create_graph=True
            raise NotImplementedError("no second derivatives through this chain: use backprop='stored'")
        plan, tensors = ctx.plan, ctx.saved_tensors
        # Detached, since the output came with the graph that has led here.
        kept, leaves = [tensor.detach() for tensor in tensors[: ctx.kept]], tensors[ctx.kept :]
        leaves = [
            leaf if leaf.is_leaf and leaf.requires_grad == needed else leaf.detach().requires_grad_(needed)
            for leaf, needed in zip(leaves, ctx.needs_input_grad[2:], strict=True)
        ]
        context, shared, values = plan.deal(leaves)
        grads, y = {}, kept[-1]
        for part, variables, own in reversed(list(zip(plan.parts, plan.variables, values, strict=True))):
            with torch.enable_grad(), _holding(variables, own):
                if plan.invert:
                    start = _zeros_before(part, y, plan.inverse)
                    y, *outputs = part.rebuild(y, context, inverse=plan.inverse, nudge=start)
                else:
                    start = kept.pop().requires_grad_()
                    outputs = part.run(start, context, inverse=plan.inverse)
            sources = [start, *(leaf for leaf in (*shared, *own) if leaf.requires_grad)]
            grad, *found = _pull(outputs, (grad, log_det_grad), sources)
            for source, more in zip(sources[1:], found, strict=True):
                if more is not None:
                    grads[id(source)] = grads[id(source)] + more if id(source) in grads else more
        if plan.invert:
            _look(y, kept[0], kept[1], plan)
        return None, grad, *(grads.get(id(leaf)) for leaf in leaves)


def _holding(variables, values):
    """Return a scope in which the variables have these values, which is empty if they have them already."""
    if all(variable.value is value for variable, value in zip(variables, values, strict=True)):
        return contextlib.nullcontext()
    return keras.StatelessScope(list(zip(variables, values, strict=True)))


def _zeros_before(part, y, inverse):
    """Return zeros, without memory behind them, of the shape of the input of `part` for the output `y`."""
    before = part.compute_output_shape if inverse else part.compute_inverse_shape
    return y.new_zeros(()).expand(before(tuple(y.shape))).requires_grad_()


def _pull(outputs, grads, sources):
    """Return the gradients for the sources from those of `outputs`; None for a source without influence."""
    pairs = [
        (value, grad.sum_to_size(value.shape))  # a log-det may be one number for all samples
        for value, grad in zip(outputs, grads, strict=True)
        if torch.is_tensor(value) and value.requires_grad
    ]
    values, grads = zip(*pairs, strict=True)
    return torch.autograd.grad(values, sources, grads, allow_unused=True)


def _look(found, known, y, plan):
    """Report drift, unless the output is not finite."""
    size = torch.linalg.vector_norm(known).clamp(min=torch.finfo(known.dtype).tiny)
    error = torch.linalg.vector_norm(found - known) / size
    error = torch.where(torch.isfinite(y.sum()), error, 0)
    error = float(error)
    if not error <= plan.tolerance:
        plan.on_drift(error)
