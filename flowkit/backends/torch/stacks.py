"""The weights of alike parts as one tensor: on CPU they live in it side by side, so that nothing is copied."""

import threading

import torch
from keras.src.backend.common.stateless_scope import in_stateless_scope

from flowkit.backends.torch.values import values

_MOVING = threading.Lock()
_MOVES = 3  # of the same weights; then somebody else wants them elsewhere, and they are copied


def stacked(columns):
    """For each `Column` its tensors, stacked: (length, *shape). Gradients reach each of them."""
    rows = [values(column.variables) for column in columns]
    # Not the variables' own; or on a device, where a copy of all is one kernel.
    if in_stateless_scope() or not rows[0][0].is_cpu:
        return [torch.stack(some) for some in rows]
    stacks = [column.home(some) for column, some in zip(columns, rows, strict=True)]
    learned = []
    for i, some in enumerate(rows):
        if stacks[i] is None:
            stacks[i] = torch.stack(some)
        elif torch.is_grad_enabled() and any(row.requires_grad for row in some):
            learned.append(i)
    if learned:
        joined = _Joined.apply([stacks[i] for i in learned], *(row for i in learned for row in rows[i]))
        for i, stack in zip(learned, joined, strict=True):
            stacks[i] = stack
    return stacks


class Column:
    """Variables of one shape whose data live in one tensor, each in its own row of it.

    They move there at first use. The variables themselves stay, so that optimizers and files notice nothing. If data
    have been moved away since, as to another type, they come back, a few times. After that, and if a variable is in
    several places, there is no such tensor.
    """

    def __init__(self, variables):
        self.variables = list(variables)
        self._home = None
        self._moves = _MOVES if len({id(v) for v in self.variables}) < len(self.variables) else 0

    def home(self, tensors):
        """The tensor in which `tensors`, those of the variables, live; None if there is none."""
        home = self._home
        if home is None and self._moves >= _MOVES:
            return None
        if home is None or not _live_in(home, tensors):
            with _MOVING:
                # Unless another thread has just done it.
                if self._home is None or not _live_in(self._home, tensors):
                    self._home = _moved(tensors) if self._moves < _MOVES else None
                    self._moves += 1
                home = self._home
        return home


def _live_in(home, tensors):
    """Whether each tensor's data are its row of `home`."""
    place, step = home.data_ptr(), home.stride(0) * home.element_size()
    for tensor in tensors:
        if tensor.data_ptr() != place or not tensor.is_contiguous():
            return False
        place += step
    return tensors[0].dtype == home.dtype


def _moved(tensors):
    """A tensor of which each of `tensors` holds a row from now on; None if they are not alike."""
    first = tensors[0]
    if any(t.dtype != first.dtype or t.shape != first.shape or not t.is_leaf for t in tensors):
        return None
    with torch.inference_mode(False), torch.no_grad():
        home = torch.stack([tensor.detach() for tensor in tensors])
        for tensor, row in zip(tensors, home.unbind(0), strict=True):
            tensor.data = row
    return home


class _Joined(torch.autograd.Function):
    """(stacks, *their rows) -> the stacks, such that gradients reach the rows."""

    @staticmethod
    def forward(ctx, stacks, *rows):
        ctx.set_materialize_grads(False)
        # To be told if one was changed in between, of which the stacks know nothing.
        ctx.save_for_backward(*rows)
        ctx.lengths = [len(stack) for stack in stacks]
        return tuple(stack.detach() for stack in stacks)

    @staticmethod
    def backward(ctx, *grads):
        ctx.saved_tensors  # noqa: B018
        found, seen = [], set()
        for grad, length in zip(grads, ctx.lengths, strict=True):
            if grad is None:
                found += [None] * length
                continue
            # Of a sum all terms get one tensor. Autograd would let the rows of several stacks keep it, as theirs, and
            # then add to it, or clip it, once for each of them.
            found += (grad.clone() if id(grad) in seen else grad).unbind(0)
            seen.add(id(grad))
        return None, *found
