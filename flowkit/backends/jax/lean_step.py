"""The training step on JAX, and several as one program."""

import contextlib
import functools
import itertools

import jax
import jax.numpy as jnp
import keras
import numpy as np

from flowkit.backends.any.lean_step import add_to_means
from flowkit.backends.jax import drift
from flowkit.backends.jax.stacked_state import Stacking
from flowkit.backends.jax.stacks import Stacked

__all__ = ["add_to_means", "around_steps", "lean_train_step", "several_steps"]


def lean_train_step(model, own, *given):
    """`own(*given)`, the training step that Keras has for `model`, or the same with less around it.

    If values of the state lie in stacks, they are moved so. If reversible chains have something to report, their drift
    is in the logs, by the name "drift", for each of `model.drift_reports()`.
    """
    state, data = given
    reports = model.drift_reports()
    plan = state[0].layout.plan if isinstance(state[0], Stacked) else None
    if not reports and plan is None:
        return own(state, data)
    weights, others, slots, metrics = state
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    other_values, slot_values = _one_by_one(others), _one_by_one(slots)

    def loss(weights, probes):
        values = _one_by_one(weights)
        with contextlib.ExitStack() as scopes:
            scopes.enter_context(drift.collecting(reports, probes))
            if plan is not None:
                scopes.enter_context(plan.holding((weights, others), (values, other_values)))
            return model.compute_loss_and_updates(
                values,
                other_values,
                metrics,
                x,
                y,
                sample_weight,
                training=True,
                optimizer_variables=slot_values,
            )

    differentiate = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)
    (_, (mean, answer, changed, metrics)), (grads, errors) = differentiate(weights, drift.probes(reports))
    if plan is None:
        others = changed
        weights, slots = model.optimizer.stateless_apply(slots, grads, weights)
    else:
        others = Stacked(others.layout.repack(others.entries, other_values, changed), others.layout)
        weights, slots = plan.step(slots, grads, weights)
    logs, metrics = model._update_metrics_variables(metrics, mean, x, y, answer, sample_weight)
    told = {drift.NAME: jnp.stack(errors)} if reports else {}
    return {**logs, **told}, (weights, others, slots, metrics)


def _one_by_one(values):
    return values.layout.unpack(values.entries) if isinstance(values, Stacked) else values


def around_steps(step, model):
    """`step`, Keras's function for training steps of `model`, with what an engine does before and after them."""
    return Stacking(drift.Listening(step, model.drift_reports), model)


def several_steps(own, step, count, at_once):
    """`own(state, iterator)`, Keras's function for `count` of its steps, or the same with less between them.

    `step(state, batch)` gives (logs, state). The batches are stacked, and a loop of XLA's takes one after another: the
    host starts one program where it started many, and arrays stay where they are. What is left at the end of an epoch
    is taken step by step, and all of it if not `at_once`. Logs are the last step's, drift is the worst of all.
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
        if not at_once:
            return _in_turn(step, state, batches)
        shapes = {str(jax.tree.map(lambda a: (a.shape, str(a.dtype)), batch)) for batch in batches}
        if len(batches) == count and len(shapes) == 1:
            stacked = jax.tree.map(_stack, *batches)
            (shape,) = shapes
            if shape not in fits:
                fits[shape] = _may_loop(whole, state, stacked)
            if fits[shape]:
                return whole(state, stacked)
        return _in_turn(step, state, batches)

    return run


def _in_turn(step, state, batches):
    each, given = [], state
    try:
        for batch in batches:
            logs, state = step(state, batch)
            each.append(logs)
    except BaseException:
        # The first step has written over what was given; what the last one gave is there for whoever puts it back.
        for values, newer in zip(given, state, strict=True):
            if isinstance(values, Stacked):
                values.entries = newer.entries
            else:
                values[:] = newer
        raise
    if drift.NAME in logs:
        logs = {**logs, drift.NAME: functools.reduce(jnp.maximum, [one[drift.NAME] for one in each])}
    return logs, state


def _stack(*arrays):
    return (np if all(isinstance(array, np.ndarray) for array in arrays) else jnp).stack(arrays)


def _may_loop(whole, state, batches):
    """False if there are convolutions on CPU: inside a loop XLA runs them forty times slower."""
    return jax.default_backend() != "cpu" or "convolution" not in whole.lower(state, batches).as_text()
