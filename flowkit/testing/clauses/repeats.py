"""A repeat computes what its copies compute as separate layers."""

import contextlib

import keras
import numpy as np
from keras import ops

from flowkit.bijectors import Chain, Repeat
from flowkit.contract.inside import layers_inside
from flowkit.engines import engine
from flowkit.testing.clause import clause
from flowkit.testing.clauses.weights import adapt, depends_on_data
from flowkit.testing.functions import tensors
from flowkit.testing.judging import SIDES, Broken, change, judge
from flowkit.testing.tolerances import ROUNDINGS


def _repeats(layer):
    """The outermost `Repeat`s in a layer."""
    found = [inner for inner in layers_inside(layer) if isinstance(inner, Repeat)]
    nested = {id(inner) for repeat in found for inner in layers_inside(repeat.block)}
    return [repeat for repeat in found if id(repeat) not in nested]


@contextlib.contextmanager
def _apart(layer):
    """Have each `Repeat` in a layer run its copies as separate layers; yield {repeat: copies}."""
    copies = {repeat: repeat.copies() for repeat in _repeats(layer)}
    for repeat, parts in copies.items():
        chain = Chain(parts)
        vars(repeat).update(run=chain.run, run_adapt=chain.run_adapt)
    try:
        yield copies
    finally:
        for repeat in copies:
            del vars(repeat)["run"], vars(repeat)["run_adapt"]


@clause(
    "repeat",
    "a Repeat answers as its copies do as separate layers, in both directions, with the same gradients, and adapts as "
    "they do",
    hint="A part of the block reads its weights in a way that fits one copy alone: write _derive with negative axes, "
    "for weights with leading axes, or use Chain([make_block() for _ in range(n)]).",
    per="once",
    applies=lambda subject: None if _repeats(subject.model) else "nothing in it is a Repeat",
)
def repeat(trial):
    layer = trial.layer32
    for part in _repeats(layer):
        before = [v.numpy() for v in part.variables]
        part.assign(part.copies())
        for old, variable in zip(before, part.variables, strict=True):
            if not np.array_equal(old, variable.numpy()):
                gap = change(old, variable.numpy())
                what = f"weight '{variable.path}' after assign(copies()) as it was"
                raise Broken(what, f"a change of {gap:.3g}")
    for inverse, points in trial.directions:
        with _apart(layer):
            expected = trial.call32(points, trial.context, inverse)
        received = trial.call32(points, trial.context, inverse)
        trial.agree32(
            inverse, expected, received, f"{{}} of {SIDES[inverse]} of its copies as separate layers"
        )
        if trial.spec.solver_gradients or not trial.solved(inverse):
            _same_gradients(trial, inverse, points)
    if depends_on_data(trial.subject) is None:
        _adapts_alike(trial)


def _same_gradients(trial, inverse, points):
    """Compare the gradients of a function of both outputs for the rows of each weight with those for the copies'."""
    layer, unit = trial.layer64, trial.unit_of(inverse)
    columns = [column for part in _repeats(layer) for column in part.trainable_variables]
    with engine.float64():
        (x,) = tensors(points)
        named = trial.subject.named(layer, x.shape, trial.context, inverse, trial.noise(inverse))

        def gradients(variables):
            def loss(values):
                with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
                    value, log_det = layer(x, inverse=inverse, **named)
                return ops.sum(ops.sin(value)) + ops.sum(log_det)

            _, found = engine.gradients(loss, [ops.convert_to_tensor(v) for v in variables])
            return [np.asarray(ops.convert_to_numpy(grad), "float64") for grad in found]

        received = gradients(columns)
        with _apart(layer) as copies:
            rows = [
                row
                for parts in copies.values()
                for copied in zip(*(part.trainable_variables for part in parts), strict=True)
                for row in copied
            ]
            expected = iter(gradients(rows))
    for column, grad in zip(columns, received, strict=True):
        wanted = np.stack([next(expected) for _ in grad])
        allowed = ROUNDINGS**2 * unit * np.maximum(1, np.abs(wanted).max())
        what = f"d/d {column.path} of {SIDES[inverse]}, by its copies as separate layers"
        judge(wanted, grad, np.full(grad.shape, allowed), what=what)


def _adapts_alike(trial):
    subject, event = trial.subject, trial.event
    one, other = subject.built(event), subject.built(event)
    other.set_weights([v.numpy() for v in one.weights])
    x = subject.adapt_batch(event, seed=1)
    context = subject.context(event, 1, len(x))
    try:
        adapt(trial, one, x, context)
    except NotImplementedError:  # as an inverse says
        return
    with _apart(other) as copies:
        adapt(trial, other, x, context)
    for part, parts in copies.items():
        part.assign(parts)
    for wanted, variable in zip(other.weights, one.weights, strict=True):
        expected, received = (np.asarray(v.numpy(), "float64") for v in (wanted, variable))
        allowed = ROUNDINGS**2 * 2.0**-23 * np.maximum(1, np.abs(expected))
        what = f"weight '{variable.path}', adapted as separate layers,"
        judge(np.atleast_1d(expected), np.atleast_1d(received), np.atleast_1d(allowed), what=what)
