"""Parts that run once more in the backward pass, which so needs few of their activations."""

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops, tree


def holding(variables: list[keras.Variable], values: list[Any]) -> contextlib.AbstractContextManager[Any]:
    """Return a scope in which variables have these values, an empty one if they have them already."""
    if all(variable.value is value for variable, value in zip(variables, values, strict=True)):
        return contextlib.nullcontext()
    return keras.StatelessScope(list(zip(variables, values, strict=True)))


class Replay(NamedTuple):
    """Parts one after another, in the order in which a direction runs them, and the variables of each.

    Tensors come as `shared`, the leaves of the context, and `values`, those of the variables of each part. With
    `invert` the backward pass rebuilds the input of each part from its output.
    """

    parts: list[Any]
    variables: list[list[keras.Variable]]
    call: Any
    invert: bool

    def shared(self) -> list[Any]:
        """Return the leaves of the context."""
        return [] if self.call.context is None else tree.flatten(self.call.context)

    def unflatten(self, leaves: Any) -> tuple[list[Any], list[list[Any]]]:
        """Return (shared, values) of one list of tensors."""
        leaves = iter(leaves)
        shared = [next(leaves) for _ in self.shared()]
        return shared, [[next(leaves) for _ in some] for some in self.variables]

    def forward(self, x: Any, shared: list[Any], values: list[list[Any]]) -> tuple[Any, Any, list[Any]]:
        """Return (y, log-det, the input of each part)."""
        inputs, total = [], ops.zeros((), dtype=x.dtype)
        for part, variables, own in zip(self.parts, self.variables, values, strict=True):
            inputs.append(x)
            with holding(variables, own):
                x, log_det = part.run(x, self._call_on(shared))
            total = total + log_det
        return x, total, inputs

    def backward(
        self,
        state: Any,
        inputs: Any,
        shared: list[Any],
        values: list[list[Any]],
        log_det_grad: Any,
        pull: Callable[..., Any],
        wait: Callable[..., Any] = lambda tensors, done: tensors,
    ) -> tuple[Any, list[list[Any]]]:
        """Run the parts again, the last one first: return (the state before them, the gradients of `values`).

        The state is the output of the parts (unused without `invert`), its gradient, and those of `shared` so far; a
        gradient may be None. `pull(again, tensors, wanted, grad, log_det_grad)` returns the first of the three results
        of `again(*tensors)` and the gradients for the tensors from those for the others. `wait(tensors, done)` returns
        equal tensors that are not known before those of `done` are.
        """
        y, grad, shared_grads = state
        own_grads, done = [], [grad]
        for i in reversed(range(len(self.parts))):
            part, some = self.parts[i], self.variables[i]
            known, *own = wait([y if self.invert else inputs[i], *values[i]], done)
            start = self._zeros_before(part, known) if self.invert else known

            def again(start, *tensors, part=part, some=some, known=known):
                call = self._call_on(tensors[: len(shared)])
                with holding(some, tensors[len(shared) :]):
                    return part.rebuild(known, call, start) if self.invert else (None, *part.run(start, call))

            wanted = [True, *(True for _ in shared), *(variable.trainable for variable in some)]
            y, (grad, *found) = pull(again, [start, *shared, *own], wanted, grad, log_det_grad)
            more = found[: len(shared)]
            shared_grads = [_sum(*pair) for pair in zip(shared_grads, more, strict=True)]
            own_grads.append(found[len(shared) :])
            done = [tensor for tensor in (grad, *found) if tensor is not None]
        return (y, grad, shared_grads), own_grads[::-1]

    def _call_on(self, shared):
        """Return the call with the leaves of its context."""
        if self.call.context is None:
            return self.call
        return self.call._replace(context=tree.pack_sequence_as(self.call.context, list(shared)))

    def _zeros_before(self, part, y):
        """Return zeros, where possible without memory behind them, of the shape of the input for the output `y`."""
        before = part.compute_output_shape if self.call.inverse else part.compute_inverse_shape
        return ops.broadcast_to(ops.zeros((), dtype=y.dtype), (ops.shape(y)[0], *before(tuple(y.shape))[1:]))


def drift(found: Any, known: Any, y: Any) -> Any:
    """Return the relative error of a rebuilt input, in the Euclidean norm; 0 if the output `y` had broken before."""
    size = ops.sqrt(ops.sum(ops.square(known)))
    least = np.finfo(keras.backend.standardize_dtype(known.dtype)).tiny
    error = ops.sqrt(ops.sum(ops.square(found - known))) / ops.maximum(size, least)
    return ops.where(ops.isfinite(ops.sum(y)), error, ops.zeros_like(error))


def _sum(one, other):
    return one if other is None else other if one is None else one + other
