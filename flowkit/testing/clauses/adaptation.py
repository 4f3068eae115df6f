"""Data-dependent initialisation happens in `adapt`, and only there."""

import os
import tempfile
import warnings

import numpy as np
from keras import ops

from flowkit.contract import FlowLayer
from flowkit.testing.clauses.clause import clause
from flowkit.testing.clauses.saving import restored
from flowkit.testing.given.points import points_of
from flowkit.testing.verdicts.broken import Broken, Undecided, point


def _applies(subject):
    layer = subject.layer(subject.events[0])
    has_flag = any(v.name == "adapted" for v in layer.non_trainable_variables)
    own = type(layer)._adapt is not FlowLayer._adapt
    return None if has_flag or own else "nothing depends on data"


@clause(
    "adaptation",
    "adapt sets the weights the same each time, is asked for before use, saved, and never done by a call",
    hint="Set statistics in _adapt alone. Remember it in a weight, which is saved with the layer: with adapted_flag of "
    "flowkit.contract.adaptation, self.flag = adapted_flag(self) in build and self.flag.assign(True) in _adapt.",
    per="once",
    applies=_applies,
)
def adaptation(trial):
    subject, event = trial.subject, trial.event
    fresh = subject.built(event)
    x = subject.adapt_batch(event, seed=1)
    context = subject.context(event, 1, len(x))
    flagged = any(v.name == "adapted" for v in fresh.non_trainable_variables)
    if not flagged:
        raise Broken("a saved, non-trainable weight named 'adapted'", "none")
    _refuses(trial, fresh, x, context)
    try:
        named = subject.named(fresh, x.shape, context)
        fresh.adapt(ops.convert_to_tensor(x, dtype="float32"), **named)
    except NotImplementedError:  # as an inverse says
        raise Undecided("it can not be adapted from this side, and says so") from None
    once = [v.numpy() for v in fresh.weights]
    if not fresh.adapted:
        raise Broken("adapt to set the flag 'adapted'", "a flag that is still False")
    fresh.adapt(ops.convert_to_tensor(x, dtype="float32"), **named)
    _equal(once, fresh, "a second adapt on the same batch")
    _stands_constants(trial, x, context)
    for inverse, points in trial.directions:
        others = points_of(
            trial.domain(inverse), np.random.default_rng(11).normal(size=(len(x), *points.shape[1:]))
        )
        trial.call32(others, context, inverse, layer=fresh)
    _equal(once, fresh, "a call on other data")
    with tempfile.TemporaryDirectory() as folder:
        again = restored(fresh, event, context, os.path.join(folder, "adapted.keras"))
    if not again.adapted:
        raise Broken("a layer that is still adapted after .keras saving", "one that asks for adapt")
    _equal(once, again, "saving and loading")


def _refuses(trial, fresh, x, context):
    for inverse, _ in trial.directions:
        latent = np.zeros((len(x), *trial.latent_event))
        try:
            trial.call32(latent if inverse else x, context, inverse, layer=fresh)
        except ValueError:  # ContractError is one
            continue
        raise Broken(f"{'inverse' if inverse else 'forward'} to refuse before adapt", "an answer")


def _stands_constants(trial, x, context):
    """A column that does not vary, as the dark corner of an image: refused by a ValueError, or finite weights."""
    layer, constant = trial.subject.built(trial.event), np.array(x)
    # On the real line that is 0, whose mean is exact: of another number its rounding may pass for a deviation.
    constant[..., 0] = points_of(trial.spec.domain, np.zeros(x.shape))[..., 0]
    if trial.spec.domain.kind == "simplex":
        constant[:] = x[:1]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it may tell of it
            named = trial.subject.named(layer, constant.shape, context)
            layer.adapt(ops.convert_to_tensor(constant, dtype="float32"), **named)
    except ValueError:  # ContractError is one
        return
    for variable in layer.weights:
        if not np.isfinite(variable.numpy()).all():
            raise Broken(
                f"a ValueError, or finite numbers in '{variable.path}', from data whose first column is constant",
                point(variable.numpy().ravel()),
                hint="The deviation of a constant column is 0: add a floor to it, or refuse it by name.",
            )


def _equal(once, layer, what):
    for value, variable in zip(once, layer.weights, strict=True):
        if not np.array_equal(value, variable.numpy()):
            gap = np.max(np.abs(1.0 * value - 1.0 * variable.numpy()))
            raise Broken(f"weight '{variable.path}' unchanged by {what}", f"a change of {gap:.3g}")
