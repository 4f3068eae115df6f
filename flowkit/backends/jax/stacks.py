"""Weights of alike parts as one tensor, from one training step to the next, on JAX.

A chain that is a loop wants the weights of its alike parts on top of each other. Stacked inside of each step and taken
apart again, they are most of the program that XLA compiles, and it grows with depth. So Keras's lists of values, which
it hands from step to step, hold stacks while an epoch lasts; who goes through such a list finds the values one by one.
"""

import contextlib
import contextvars
import weakref

import jax
import jax.numpy as jnp
import numpy as np

_held: contextvars.ContextVar = contextvars.ContextVar("held", default=None)


class Layout:
    """Which values of a list lie on top of each other: a tuple of places for each entry, of one place for one alone."""

    def __init__(self, groups, plan):
        self.groups = groups
        # Weakly: JAX remembers layouts of programs that are gone, and with a plan all weights would stay on the device.
        self._plan = None if plan is None else weakref.ref(plan)
        self.size = sum(len(group) for group in groups)

    @property
    def plan(self):
        """The plan that a step over such a list follows."""
        return self._plan and self._plan()

    def pack(self, values, entries):
        """Move the values of a list to `entries`, which is empty, one by one: no more than one stack is there twice."""
        if len(values) != self.size:
            raise ValueError(f"expected {self.size} values to be stacked, received {len(values)}.")
        for group in self.groups:
            entries.append(
                values[group[0]] if len(group) == 1 else _on_top(*(values[place] for place in group))
            )
            for place in group:
                values[place] = None

    def unpack(self, entries):
        """The values, one by one; None for those whose entry was not made yet."""
        values = [None] * self.size
        for group, entry in zip(self.groups, entries, strict=False):
            for place, value in zip(group, [entry] if len(group) == 1 else _apart(entry), strict=True):
                values[place] = value
        return values

    def repack(self, entries, old, new):
        """The entries of the values `new`; of those that are still the `old` ones, which `entries` gave, that entry."""
        packed = []
        for group, entry in zip(self.groups, entries, strict=True):
            values = [new[place] for place in group]
            if len(group) == 1:
                packed.append(values[0])
            elif all(value is old[place] for value, place in zip(values, group, strict=True)):
                packed.append(entry)
            else:
                packed.append(jnp.stack(values))
        return packed


@jax.tree_util.register_pytree_node_class
class Stacked:
    """A list of values that lies in stacks: what a step takes and gives in place of Keras's list."""

    def __init__(self, entries, layout):
        self.entries, self.layout = entries, layout
        self._values = None

    def tree_flatten(self):
        return (self.entries,), self.layout

    @classmethod
    def tree_unflatten(cls, layout, children):
        return cls(*children, layout)

    def __len__(self):
        return self.layout.size

    def __iter__(self):
        # Keras goes through the list to put the values back: from then on the stacks would be a second copy.
        if self._values is None:
            entries, self.entries = self.entries, None
            self._values = self.layout.unpack(entries.pop(0) for _ in range(len(entries)))
        return iter(self._values)

    def let_go(self):
        """Hold nothing any more: the values are in the model."""
        self.entries = self._values = None

    def __getitem__(self, place):
        """One value, for which the stacks stay as they are."""
        group, entry = next(
            pair for pair in zip(self.layout.groups, self.entries, strict=True) if place in pair[0]
        )
        return entry if len(group) == 1 else entry[group.index(place)]


@contextlib.contextmanager
def holding(stacks):
    """A scope in which `on_top` finds its answers: (variables, their values, the stack of these) of each stack."""
    table = {tuple(map(id, variables)): (values, stack) for variables, values, stack in stacks}
    token = _held.set(lambda variables: _find(table, variables))
    try:
        yield
    finally:
        _held.reset(token)


@contextlib.contextmanager
def noting(asked):
    """A scope in which `asked` becomes the list of all that is asked of `on_top`."""
    token = _held.set(asked.append)
    try:
        yield
    finally:
        _held.reset(token)


def held():
    """Whether weights lie in stacks already."""
    return _held.get() is not None


def on_top(variables):
    """The values of `variables` on top of each other, with gradients."""
    variables = tuple(variables)
    find = _held.get()
    stack = None if find is None else find(variables)
    return jnp.stack([variable.value for variable in variables]) if stack is None else stack


def _find(table, variables):
    values, stack = table.get(tuple(map(id, variables)), ((), None))
    # In another scope they may have other values.
    return stack if all(v.value is value for v, value in zip(variables, values, strict=False)) else None


@jax.jit
def _on_top(*values):
    return jnp.stack(values)


def _apart(stack):
    if isinstance(stack, jax.core.Tracer):
        return _slices(stack)
    if stack.is_deleted():
        return [stack] * len(stack)  # each value is as lost as the stack
    return [_slice(stack, np.int32(i)) for i in range(len(stack))]


@jax.jit
def _slices(stack):  # one line in a step's program, none if nobody reads them
    return [jax.lax.index_in_dim(stack, i, keepdims=False) for i in range(len(stack))]


@jax.jit
def _slice(stack, i):  # compiled once for each shape, ten times faster than all slices of a deep stack
    return jax.lax.dynamic_index_in_dim(stack, i, keepdims=False)
