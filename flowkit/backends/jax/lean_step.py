"""Several training steps on JAX as one program."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np

from flowkit.backends.any.lean_step import add_to_means, lean_train_step

__all__ = ["add_to_means", "lean_train_step", "several_steps"]


def several_steps(own, step, count):
    """`own(state, iterator)`, Keras's function for `count` of its steps, or the same with less between them.

    `step(state, batch)` gives (logs, state). The batches are stacked, and a loop of XLA's takes one after another: the
    host starts one program where it started many, and arrays stay where they are. What is left at the end of an epoch
    is taken step by step.
    """

    @functools.partial(jax.jit, donate_argnums=0)
    def whole(state, batches):
        def body(state, batch):
            logs, state = step(state, batch)
            return state, logs

        state, logs = jax.lax.scan(body, state, batches)
        return jax.tree.map(lambda log: log[-1], logs), state

    fits = {}

    def run(state, iterator):
        batches = list(itertools.islice(iterator, count))
        if not batches:
            raise StopIteration
        shapes = {str(jax.tree.map(lambda a: (a.shape, str(a.dtype)), batch)) for batch in batches}
        if len(batches) == count and len(shapes) == 1:
            stacked = jax.tree.map(_stack, *batches)
            (shape,) = shapes
            if shape not in fits:
                fits[shape] = _may_loop(whole, state, stacked)
            if fits[shape]:
                return whole(state, stacked)
        for batch in batches:
            logs, state = step(state, batch)
        return logs, state

    return run


def _stack(*arrays):
    return (np if all(isinstance(array, np.ndarray) for array in arrays) else jnp).stack(arrays)


def _may_loop(whole, state, batches):
    """False if there are convolutions on CPU: inside a loop XLA runs them forty times slower."""
    return jax.default_backend() != "cpu" or "convolution" not in whole.lower(state, batches).as_text()
