"""Gradients by PyTorch, step by step."""

import keras
import torch


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
