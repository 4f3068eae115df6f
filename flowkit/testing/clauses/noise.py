"""Noise is used if the spec says so, and asked for."""

import numpy as np

from flowkit.contract import ContractError
from flowkit.testing.clauses.clause import clause
from flowkit.testing.given.noise import drawn, needs_of
from flowkit.testing.given.tolerances import ROUNDINGS
from flowkit.testing.verdicts.broken import Broken

_SEEDS = (3, 5, 7, 9)


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
    raise Broken(f"{_side(inverse)} {what}, with a ContractError 'noise'", "an answer")


def _used(trial, inverse):
    """Judge whether noise changes the answer: the log-det of an estimate alone, otherwise the output as well."""
    measured, points = trial.measured_in(inverse), trial.points(inverse)
    needs = needs_of(trial.layer32, points.shape, inverse)
    signals = np.zeros(2)
    for seed in _SEEDS:
        other = drawn(needs, len(points), np.random.default_rng([seed, 12]))
        answers = trial.run64(points, inverse, noise=other)
        errors = (measured.value, measured.value_error), (measured.log_det, measured.log_det_error)
        for i, (answer, (expected, error)) in enumerate(zip(answers, errors, strict=True)):
            with np.errstate(all="ignore"):
                signal = np.abs(answer - expected) / (2 * ROUNDINGS * error + 1e-300)
            signals[i] = max(signals[i], float(np.nan_to_num(signal).max()))
    if signals.max(initial=0.0) <= 1:
        raise Broken(f"an answer of {_side(inverse)} that depends on its noise", "none that does")
    draws = any(trial.subject.forgets(inverse=inverse) for inverse in (False, True))
    if not draws and signals[0] > 1:
        raise Broken(
            f"an output of {_side(inverse)} that does not depend on noise, as that of a bijector, which may only "
            "estimate its log-det",
            "one that does",
        )


def _side(inverse):
    return "inverse" if inverse else "forward"
