"""A repeat computes what its copies compute as separate layers."""

import contextlib

import numpy as np

from flowkit.bijectors import Chain, Repeat
from flowkit.contract.inside import layers_inside
from flowkit.engines import engine
from flowkit.testing.clauses.gradients import gradients
from flowkit.testing.clauses.weights import depends_on_data
from flowkit.testing.copies import adapt
from flowkit.testing.judging import SIDES, ask_unless, clause, judge, require_unchanged
from flowkit.testing.tolerances import ROUNDINGS


def _repeats(layer):
    """Return the outermost `Repeat`s in a layer."""
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


@clause("repeat", per="once")
def repeat(trial):
    """Require that a Repeat answers and adapts as its copies do as separate layers, with the same gradients.

    Hint: A part of the block reads its weights in a way that fits one copy alone: write _derive with negative axes, for
    weights with leading axes, or use Chain([make_block() for _ in range(n)]).
    """
    ask_unless(not _repeats(trial.subject.model), "nothing in it is a Repeat")
    layer = trial.layer32
    for part in _repeats(layer):
        before = [v.numpy() for v in part.variables]
        part.assign(part.copies())
        require_unchanged(before, part.variables, "{} after assign(copies()) as it was")
    for inverse, _ in trial.directions:
        with _apart(layer):
            expected = trial.run32(inverse)
        trial.agree32(inverse, expected, trial.run32(inverse), "{} of its copies as separate layers")
        if trial.spec.solver_gradients or not trial.solved(inverse):
            _same_gradients(trial, inverse)
    if depends_on_data(trial.subject):
        _adapts_alike(trial)


def _same_gradients(trial, inverse):
    """Compare the gradients of a function of both outputs for the rows of each weight with those for the copies'."""
    layer, unit = trial.layer64, trial.unit_of(inverse)
    columns = [column for part in _repeats(layer) for column in part.trainable_variables]
    with engine.float64():
        given = trial.inputs(inverse).tensors()
        _, *received = gradients(layer, inverse, given, columns)
        with _apart(layer) as copies:
            rows = [
                row
                for parts in copies.values()
                for copied in zip(*(part.trainable_variables for part in parts), strict=True)
                for row in copied
            ]
            _, *expected = gradients(layer, inverse, given, rows)
    expected = iter(expected)
    for column, grad in zip(columns, received, strict=True):
        wanted = np.stack([next(expected) for _ in grad])
        allowed = ROUNDINGS**2 * unit * np.maximum(1, np.abs(wanted).max())
        what = f"d/d {column.path} of {SIDES[inverse]}, by its copies as separate layers"
        judge(wanted, grad, np.full(grad.shape, allowed), what=what)


def _adapts_alike(trial):
    subject, event = trial.subject, trial.event
    one, other = subject.built(event), subject.built(event)
    other.set_weights([v.numpy() for v in one.weights])
    batch = subject.batch(one, event, seed=1)
    try:
        adapt(one, batch)
    except NotImplementedError:  # as an inverse says
        return
    with _apart(other) as copies:
        adapt(other, batch)
    for part, parts in copies.items():
        part.assign(parts)
    for wanted, variable in zip(other.weights, one.weights, strict=True):
        expected, received = (np.atleast_1d(v.numpy()).astype("float64") for v in (wanted, variable))
        allowed = ROUNDINGS**2 * 2.0**-23 * np.maximum(1, np.abs(expected))
        judge(expected, received, allowed, what=f"weight '{variable.path}', adapted as separate layers,")
