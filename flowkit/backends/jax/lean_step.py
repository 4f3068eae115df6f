"""The training step on JAX, and several as one program."""

import functools
import itertools

import jax
import jax.numpy as jnp
import keras
import numpy as np

from flowkit.backends.any.lean_step import add_to_means
from flowkit.backends.jax import drift

__all__ = ["add_to_means", "lean_train_step", "listening", "several_steps"]


def lean_train_step(model, own, *given):
    """`own(*given)`, the training step that Keras has for `model`, or the same with less around it.

    Or with more: if reversible chains have something to report, their drift is in the logs, by the name "drift", for
    each of `model.drift_reports()`.
    """
    reports = model.drift_reports()
    if not reports:
        return own(*given)
    state, data = given
    weights, others, slots, metrics = state
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)

    def loss(weights, probes):
        with drift.collecting(reports, probes):
            return model.compute_loss_and_updates(
                weights, others, metrics, x, y, sample_weight, training=True, optimizer_variables=slots
            )

    differentiate = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)
    (_, (mean, answer, others, metrics)), (grads, errors) = differentiate(weights, drift.probes(reports))
    weights, slots = model.optimizer.stateless_apply(slots, grads, weights)
    logs, metrics = model._update_metrics_variables(metrics, mean, x, y, answer, sample_weight)
    return {**logs, drift.NAME: jnp.stack(errors)}, (weights, others, slots, metrics)


def listening(step, model):
    """`step`, Keras's function for training steps of `model`, with what they have to report reported."""
    return drift.Listening(step, model.drift_reports)


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
        last = jax.tree.map(lambda log: log[-1], logs)
        if drift.NAME in logs:
            last[drift.NAME] = jnp.max(logs[drift.NAME], axis=0)
        return last, state

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
        each = []
        for batch in batches:
            logs, state = step(state, batch)
            each.append(logs)
        if drift.NAME in logs:
            logs[drift.NAME] = functools.reduce(jnp.maximum, [one[drift.NAME] for one in each])
        return logs, state

    return run


def _stack(*arrays):
    return (np if all(isinstance(array, np.ndarray) for array in arrays) else jnp).stack(arrays)


def _may_loop(whole, state, batches):
    """False if there are convolutions on CPU: inside a loop XLA runs them forty times slower."""
    return jax.default_backend() != "cpu" or "convolution" not in whole.lower(state, batches).as_text()
