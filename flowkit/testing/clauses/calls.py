"""A call sees its own samples, context and noise, changes nothing and remembers nothing."""

import numpy as np

from flowkit.contract import ContractError
from flowkit.testing.examples import ROWS
from flowkit.testing.inputs import direction, needs_of, noise_of
from flowkit.testing.judging import SIDES, Broken, Undecided, ask_unless, clause, require, require_unchanged
from flowkit.testing.tolerances import ROUNDINGS

_SEEDS = (3, 5, 7, 9)
_MANY = np.random.default_rng(8).integers(0, ROWS, 512).tolist()


@clause("batch independence", per="event")
def independence(trial):
    """Require that a sample, with its context and noise, has the same answer alone, in any order, and among many.

    Hint: A statistic, a sum or a reshape runs over the batch axis.
    """
    judged = False
    for inverse, given in trial.directions:
        whole = trial.run32(inverse)
        for order in ([2, 0, 1], [1, 2], [0], [1], [2], [1, 1], _MANY):
            part = trial.run32(inverse, given.rows(order))
            expected = [answer[order] for answer in whole]
            # The float64 measurement, in float32's units: blocks of another size round in another order.
            what = f"{{}} for samples {order[:3]} in a batch of {len(order)}"
            judged |= trial.agree32(inverse, expected, part, what, order)
    if not judged:
        raise Undecided("no answer is finite")


@clause("empty batch", per="event")
def empty(trial):
    """Require that a batch without samples returns an output and a log_det without samples.

    Hint: Reshape to the event's known axes; do not divide by the batch's size.
    """
    for inverse, given in trial.directions:
        event = trial.events(inverse)[1]
        value, log_det = trial.run32(inverse, given.rows(slice(0)))
        require(
            value.shape == (0, *event) and log_det.shape == (0,),
            f"shapes {(0, *event)} and (0,)",
            f"{value.shape} and {log_det.shape}",
        )


@clause("purity", per="event")
def purity(trial):
    """Require that the same inputs return the same answer after any other calls and in training, and change no weight.

    In training a layer that draws anew each time (dropout) or moves statistics may answer otherwise.

    Hint: Something is written, drawn at random or remembered in _forward or _inverse: that belongs in _adapt, in
    _refresh, or in the noise that the spec declares.
    """
    variables = trial.layer32.variables
    before = [v.numpy() for v in variables]
    for inverse, given in trial.directions:
        first = trial.run32(inverse)
        trial.run32(inverse, _others(trial, inverse))
        # Nor may it return what the other direction received in between.
        if trial.subject.has(not inverse):
            back = trial.inputs(not inverse)
            trial.run32(not inverse, back._replace(x=back.x[::-1]))
        again = trial.run32(inverse)
        trial.same(inverse, first, again, given.x, "the same {} each time")
        try:
            require_unchanged(before, variables, f"{SIDES[inverse]} to leave {{}} as it was")
            # Keras's dropout draws from PyTorch's own generator, which is no variable.
            trained, anew = (trial.run32(inverse, training=True) for _ in range(2))
            kept = all(map(np.array_equal, before, [v.numpy() for v in variables]))
            if kept and all(map(np.array_equal, trained, anew)):
                trial.same(inverse, first, trained, given.x, "the same {} in training as elsewhere")
        finally:
            trial.subject.forget(trial.event)
    fresh = trial.subject.twin(trial.example)
    for inverse, _ in trial.directions:
        others = _others(trial, inverse)  # the used layer's first call was on others than these
        new, used = trial.run32(inverse, others, layer=fresh), trial.run32(inverse, others)
        what = "the same {} from a fresh layer and from one that was called before"
        trial.same(inverse, new, used, others.x, what)


def _others(trial, inverse):
    """Return inputs at other points: between the trial's, or whole numbers in another order."""
    given = trial.inputs(inverse)
    backwards = given.x[::-1]
    whole = "whole" in trial.domain(inverse).kind
    return given._replace(x=backwards if whole else backwards * 0.5 + given.x * 0.5)


@clause("context", per="event")
def context(trial):
    """Require that a missing context is refused if it is required, and that contexts change outputs as declared.

    Hint: Hand the context to every part that reads it, in both hooks; set spec.context.
    """
    word = trial.spec.context
    if word == "none":
        extra = np.random.default_rng(0).normal(size=(ROWS, 2))
        for inverse, given in trial.directions:
            without, beside = (trial.run32(inverse, given._replace(context=c)) for c in (None, extra))
            what = 'no difference from a context, as spec.context is "none"'
            trial.same(inverse, without, beside, given.x, what)
        return
    for inverse, given in trial.directions if word == "required" else ():
        try:
            trial.run32(inverse, given._replace(context=None))
        except ContractError:
            continue
        raise Broken("a ContractError if the required context is missing", "an answer")
    for inverse, given in trial.directions:
        others = [
            given._replace(context=trial.subject.context(trial.event, seed, ROWS)) for seed in (1, *_SEEDS)
        ]
        signals = _signals(trial, inverse, others)
        expected = f'an answer of {SIDES[inverse]} that depends on the context, as spec.context is "{word}"'
        require(np.max(signals) > 1, expected, "none that does")


def _signals(trial, inverse, several):
    """Return by how many allowed errors (output, log_det) at the first inputs differ from those at each other one."""
    measured = trial.measured_in(inverse)
    one, *others = [trial.run64(inverse, given) for given in several]

    def signal(a, b, answer):
        return np.nan_to_num(np.abs(a - b) / (2 * ROUNDINGS * answer.error + 1e-300)).max()

    with np.errstate(all="ignore"):
        return np.array([list(map(signal, one, other, measured)) for other in others])


@clause("noise", per="event")
def noise(trial):
    """Require that a direction that draws needs as many numbers as it says, and that its answer depends on them.

    The output of an estimate does not.

    Hint: Hand the noise to every part that draws; set spec.noise; leave the checks to the base class.
    """
    ask_unless(trial.spec.noise == "none", "nothing is drawn")
    for inverse, given in trial.directions:
        needed = given.noise
        if needed is None:
            _refuses(trial, inverse, np.ones((len(given.x), 1)), "that draws nothing to refuse noise")
            continue
        _refuses(trial, inverse, None, "to ask for its noise")
        for size in {needed.shape[1] + 1, max(1, needed.shape[1]) - 1} - {needed.shape[1]}:
            _refuses(trial, inverse, np.ones((len(given.x), size)), f"to refuse {size} numbers of noise")
        if needed.size:
            _used(trial, inverse)


def _refuses(trial, inverse, noise, what):
    layer, given = trial.layer32, trial.inputs(inverse)._replace(noise=noise)
    try:
        trial.answers(direction(layer, inverse), given, layer)
    except ContractError as error:
        if error.clause == "noise":
            return
        raise
    raise Broken(f"{SIDES[inverse]} {what}, with a ContractError 'noise'", "an answer")


def _used(trial, inverse):
    """Require that noise changes the answer: the log-det of an estimate alone, otherwise the output as well."""
    given = trial.inputs(inverse)
    needs = needs_of(trial.layer32, given.x.shape, inverse)
    others = [noise_of(needs, len(given.x), np.random.default_rng([seed, 12])) for seed in _SEEDS]
    signals = _signals(trial, inverse, [given, *(given._replace(noise=other) for other in others)])
    side = SIDES[inverse]
    require(np.max(signals) > 1, f"an answer of {side} that depends on its noise", "none that does")
    draws = any(trial.subject.model.is_lossy(inverse=inverse) for inverse in (False, True))
    require(
        draws or np.max(signals, axis=0)[0] <= 1,
        f"an output of {side} that does not depend on noise, as that of a bijector, which may only "
        "estimate its log-det",
        "one that does",
    )
