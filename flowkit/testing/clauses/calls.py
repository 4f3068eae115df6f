"""A call sees its own samples, context and noise, changes nothing and remembers nothing."""

import numpy as np

from flowkit.contract import ContractError
from flowkit.testing import inputs
from flowkit.testing.clause import clause
from flowkit.testing.judging import SIDES, Broken, Undecided, change, require, require_same
from flowkit.testing.tolerances import ROUNDINGS

_SEEDS = (3, 5, 7, 9)


@clause(
    "batch independence",
    "each sample's answer, to its own context and noise, is the same alone, in a slice and in any order",
    hint="A statistic, a sum or a reshape runs over the batch axis.",
    per="event",
)
def independence(trial):
    judged = False
    for inverse, points in trial.directions:
        whole = trial.call32(points, trial.context, inverse)
        for order in ([2, 0, 1], [1, 2], [0], [1], [2], [1, 1]):
            context, noise = (inputs.rows(given, order) for given in (trial.context, trial.noise(inverse)))
            part = trial.call32(points[order], context, inverse, noise=noise)
            expected = [answer[order] for answer in whole]
            for name, a, b in zip(("output", "log_det"), expected, part, strict=True):
                require(a.shape == b.shape, f"{name} of shape {a.shape} for samples {order}", f"{b.shape}")
            # The float64 measurement, in float32's units: blocks of another size round in another order.
            what = f"{{}} of {SIDES[inverse]} for samples {order} of the batch"
            judged |= trial.agree32(inverse, expected, part, what, order)
    if not judged:
        raise Undecided("no answer is finite")


@clause(
    "empty batch",
    "a batch without samples gives an output and a log_det without samples",
    hint="Reshape to the event's known axes; do not divide by the batch's size.",
    per="event",
)
def empty(trial):
    for inverse, points in trial.directions:
        event = trial.events(inverse)[1]
        value, log_det = trial.call32(points[:0], inputs.rows(trial.context, slice(0)), inverse)
        require(
            value.shape == (0, *event) and log_det.shape == (0,),
            f"shapes {(0, *event)} and (0,)",
            f"{value.shape} and {log_det.shape}",
        )


@clause(
    "purity",
    "the same input, and noise, gives the same answer, whatever was called before, and no call changes a weight",
    hint="Something is written, drawn at random or remembered in _forward or _inverse: that belongs in _adapt, in "
    "_refresh, or in the noise that the spec declares.",
    per="event",
)
def purity(trial):
    variables = trial.layer32.variables
    before = [v.numpy() for v in variables]
    for inverse, points in trial.directions:
        side = SIDES[inverse]
        first = trial.call32(points, trial.context, inverse)
        trial.call32(_others(trial, inverse), trial.context, inverse)
        # What the other direction received in between must not be handed back either.
        if trial.subject.has(not inverse):
            trial.call32(trial.points(not inverse)[::-1], trial.context, not inverse)
        again = trial.call32(points, trial.context, inverse)
        require_same(first, again, points, f"the same {{}} from {side} each time")
        for old, variable in zip(before, variables, strict=True):
            if not np.array_equal(old, variable.numpy()):
                trial.subject.forget(trial.event)
                raise Broken(
                    f"{side} to leave weight '{variable.path}' as it was",
                    f"a change of {change(old, variable.numpy()):.3g}",
                )
    fresh = trial.subject.twin(trial.example)
    for inverse, _ in trial.directions:
        others = _others(trial, inverse)  # the used layer's first call was on others than these
        new = trial.call32(others, trial.context, inverse, layer=fresh)
        used = trial.call32(others, trial.context, inverse)
        what = f"the same {{}} of {SIDES[inverse]} from a fresh layer and from one that was called before"
        require_same(new, used, others, what)


def _others(trial, inverse):
    """Points other than the trial's: between them, or of whole numbers the same in another order."""
    points = trial.points(inverse)
    return points[::-1] if trial.domain(inverse).kind == "whole" else points[::-1] * 0.5 + points * 0.5


@clause(
    "context",
    "a required context is asked for, a context that is read changes the answer, one that is not is harmless",
    hint="Hand the context to every part that reads it, in both hooks; set spec.context.",
    per="event",
)
def context(trial):
    if trial.spec.context == "none":
        extra = np.random.default_rng(0).normal(size=(len(trial.x), 2))
        for inverse, points in trial.directions:
            without, given = (trial.call32(points, context, inverse) for context in (None, extra))
            require_same(without, given, points, 'no difference from a context, as spec.context is "none"')
        return
    if trial.spec.context == "required":
        for inverse, points in trial.directions:
            try:
                trial.call32(points, None, inverse)
            except ContractError:
                continue
            raise Broken("a ContractError if the required context is missing", "an answer")
    subject = trial.subject
    one = subject.context(trial.event, 1, len(trial.x))
    others = [subject.context(trial.event, seed, len(trial.x)) for seed in _SEEDS]
    for inverse, points in trial.directions:
        here = trial.run64(points, inverse, one)
        signals = [_signals(trial, inverse, here, trial.run64(points, inverse, other)) for other in others]
        answer, word = f"an answer of {SIDES[inverse]}", trial.spec.context
        expected = f'{answer} that depends on the context, as spec.context is "{word}"'
        require(np.max(signals) > 1, expected, "none that does")


def _signals(trial, inverse, one, other):
    """Return by how many allowed errors two answers differ: the largest of (output, log_det)."""
    measured = trial.measured_in(inverse)
    signals = []
    for a, b, error in zip(one, other, (measured.value_error, measured.log_det_error), strict=True):
        with np.errstate(all="ignore"):
            signal = np.abs(a - b) / (2 * ROUNDINGS * error + 1e-300)
        signals.append(float(np.nan_to_num(signal).max()))
    return signals


@clause(
    "noise",
    "a direction that draws asks for as many numbers as it needs, and its answer depends on them; what only estimates "
    "gives the same output whatever they are",
    hint="Hand the noise to every part that draws; set spec.noise; leave the checks to the base class.",
    per="event",
    applies=lambda subject: "nothing is drawn" if subject.spec.noise == "none" else None,
)
def noise(trial):
    for inverse, points in trial.directions:
        needed = trial.noise(inverse)
        if needed is None:
            _refuses(trial, inverse, np.ones((len(points), 1)), "that draws nothing to refuse noise")
            continue
        _refuses(trial, inverse, None, "to ask for its noise")
        for size in {needed.shape[1] + 1, max(1, needed.shape[1]) - 1} - {needed.shape[1]}:
            _refuses(trial, inverse, np.ones((len(points), size)), f"to refuse {size} numbers of noise")
        if needed.size:
            _used(trial, inverse)


def _refuses(trial, inverse, noise, what):
    layer, x = trial.layer32, trial.points(inverse)
    named = trial.subject.named(layer, x.shape, trial.context, inverse, noise)
    if noise is None:
        del named["noise"]
    try:
        trial.call(x, inverse, named)
    except ContractError as error:
        if error.clause == "noise":
            return
        raise
    raise Broken(f"{SIDES[inverse]} {what}, with a ContractError 'noise'", "an answer")


def _used(trial, inverse):
    """Require that noise changes the answer: the log-det of an estimate alone, otherwise the output as well."""
    measured, points = trial.measured_in(inverse), trial.points(inverse)
    needs = inputs.needs_of(trial.layer32, points.shape, inverse)
    here, signals = (measured.value, measured.log_det), []
    for seed in _SEEDS:
        other = inputs.noise_of(needs, len(points), np.random.default_rng([seed, 12]))
        signals.append(_signals(trial, inverse, here, trial.run64(points, inverse, noise=other)))
    side = SIDES[inverse]
    require(np.max(signals) > 1, f"an answer of {side} that depends on its noise", "none that does")
    draws = any(trial.subject.forgets(inverse=inverse) for inverse in (False, True))
    require(
        draws or np.max(signals, axis=0)[0] <= 1,
        f"an output of {side} that does not depend on noise, as that of a bijector, which may only "
        "estimate its log-det",
        "one that does",
    )
