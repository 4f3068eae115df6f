"""The two directions answer in the shapes, dtypes and sets that the layer says, and undo each other everywhere."""

import keras
import numpy as np

from flowkit.contract import Domain
from flowkit.contract.precision import rounding_unit
from flowkit.testing.examples import ROWS
from flowkit.testing.inputs import Inputs, difference, placeholder, points_of
from flowkit.testing.judging import (
    SIDES,
    Broken,
    Imprecise,
    Undecided,
    ask_unless,
    clause,
    in_all_entries,
    judge,
    point,
    require,
)
from flowkit.testing.tolerances import ROUNDINGS, split
from flowkit.testing.trial import leading

REACH = 8.0
"""A line through the domain goes from minus this to this, in each entry at once."""

PARTS, PLACES = 1025, 2
"""The number of steps of each search along the line, and of places in the second search."""

STEEP = np.log(np.finfo("float64").max)
"""The log-det of a map so steep that overflow is no surprise."""


@clause("log-det shape", per="event")
def log_det_shape(trial):
    """Require log-dets (batch,) of at least float32, and outputs of the layer's dtype.

    Hint: Sum over the event, not over the batch; return ops.zeros of shape (batch,), or a scalar.
    """
    dtype = trial.layer32.compute_dtype
    for inverse, given in trial.directions:
        side = SIDES[inverse]
        for rows in (len(given.x), 1):
            value, log_det = trial.run32(inverse, given.rows(slice(rows)))
            require(
                log_det.shape == (rows,),
                f"a log_det of shape ({rows},) from {side}",
                f"shape {log_det.shape}",
            )
            found = log_det.dtype.name
            require(found in ("float32", "float64"), f"a log_det of at least float32 from {side}", found)
            found = value.dtype.name
            require(found == dtype, f"an output of dtype {dtype} from {side}", found)


@clause("shape inference", per="event")
def shape_inference(trial):
    """Require that compute_output_shape, compute_inverse_shape and a symbolic call give the shapes that come out.

    Hint: Write compute_output_shape and compute_inverse_shape for a map that changes shapes.
    """
    layer = trial.layer32
    for batch in (None, ROWS):
        if trial.subject.has(False):
            shape = layer.compute_output_shape((batch, *trial.event))
            _same("compute_output_shape", shape, batch, trial.measured_in(False).output.value)
        if trial.subject.has(True):
            shape = layer.compute_inverse_shape((batch, *trial.latent_event))
            _same("compute_inverse_shape", shape, batch, trial.points(False))
    if trial.subject.has(True):
        found = trial.run32(inverse=True)[0].shape[1:]
        require(found == trial.event, f"inverse to return events of shape {trial.event}", f"{found}")
    context = placeholder(trial.context)
    for inverse, _ in trial.directions:
        event, other = trial.events(inverse)
        value, log_det = layer(keras.Input(event), context=context, inverse=inverse)
        require(
            tuple(value.shape) == (None, *other) and tuple(log_det.shape) == (None,),
            f"symbolic outputs of shape {(None, *other)} and (None,) from {SIDES[inverse]}",
            f"{tuple(value.shape)} and {tuple(log_det.shape)}",
        )


def _same(what, shape, batch, value):
    expected = (batch, *value.shape[1:])
    require(tuple(shape) == expected, f"{what} to answer {expected}", f"{tuple(shape)}")


@clause("round trip", needs=(True, False))
def round_trip(trial):
    """Require that inverse(forward(x)) is x, for every x of the domain and any noise.

    Hint: The inverse undoes another map, or in another order, or stops too early.
    """
    ask_unless(trial.subject.model.is_lossy(inverse=False), "forward forgets")
    _comes_back(trial, False, trial.declared(trial.points(False)))


@clause("inverse round trip", needs=(True, False))
def inverse_round_trip(trial):
    """Require that forward(inverse(z)) is z, for every z of the codomain and any noise.

    Hint: The codomain may be smaller than declared, or the inverse may answer from memory.
    """
    ask_unless(trial.subject.model.is_lossy(inverse=True), "inverse forgets")
    _comes_back(trial, True, trial.declared(trial.points(True)) if trial.solved(False) else 0.0)


def _comes_back(trial, inverse, declared):
    points, domain = trial.points(inverse), trial.domain(inverse)
    again = trial.measured_after(inverse).output
    judge(
        points,
        again.value,
        again.allowed() + declared,
        what="z" if inverse else "x",
        where=points,
        among=trial.comes_back(inverse),
        gap=difference(domain, points, again.value),
    )


@clause("float32")
def float32(trial):
    """Require that a layer answers in its own precision as its float64 copy does, up to rounding.

    Hint: A constant, a branch or a cast depends on the type of the input; or digits get lost which float64 still has.
    """
    judged, grow = False, rounding_unit("float32") / trial.eps
    for inverse, (x, *_) in trial.directions:
        if trial.subject.model.is_lossy(inverse=inverse):  # only what the other direction draws has a density
            x = trial.measured_in(not inverse).output.value
        there = trial.again(trial.context, {inverse: x})
        # A rounding of numbers of size 1 may come before x counts: of a tie, or an edge, all digits are lost.
        measured = there.measured(x, inverse, input_error=trial.eps * np.maximum(1, np.abs(x)))
        received, values = there.run32(inverse), [answer.value for answer in measured]
        solved = trial.declared(values[0]) * trial.solved(inverse), trial.declared_log_det(values[1], inverse)
        allowed = [2 * answer.allowed(grow) + error for answer, error in zip(measured, solved, strict=True)]
        # What is too large for float32 is for the clause "finite" to judge.
        fits = [np.where(np.isfinite(b), a, np.nan) for a, b in zip(values, received, strict=True)]
        if (
            "whole" in trial.domain(not inverse).kinds
        ):  # how far rounding goes cannot be measured behind a floor
            fits[0] = np.full(fits[0].shape, np.nan)
        judged |= there.agree32(inverse, fits, received, "{} in float64", allowed=allowed)
    if not judged:
        raise Undecided("no answer has digits that float32 keeps")


@clause("gaps", per="event", needs=(True, False))
def gaps(trial):
    """Require the round trips beside the places where a direction jumps most along a line, and in between.

    Hint: A last knot, a bound or a floor of the bins may be off: where two pieces meet, both must give the same number.
    """
    inverse, joint = leading(trial.subject)
    ask_unless(joint, "a direction forgets something")
    ask_unless(trial.spec.noise != "none", "it is given noise")
    ask_unless(trial.spec.domain.kind == "whole", "whole numbers have no beside")
    promises, judged = (round_trip, inverse_round_trip), False
    context = trial.first(ROWS)  # one map along all of the line
    for beside, between, jump in _jumps(trial, inverse):
        for way, points in ((inverse, beside), (not inverse, between)):
            try:
                promises[way].check(trial.again(context, {way: points}))
                judged = True
            except Undecided:
                continue
            except Broken as found:
                found.hint = jump or promises[way].hint
                raise
    if not judged:
        raise Imprecise


def _jumps(trial, inverse):
    """Yield (points on both sides, outputs within, hint) for each of the `PLACES` that jump most, ROWS points each.

    There is no hint where the map is continuous: its finest step there is not much longer than those beside it.
    """
    event, image = trial.events(inverse)[0], trial.domain(not inverse)

    def line(t):
        return points_of(trial.domain(inverse), np.repeat(t, np.prod(event)).reshape(-1, *event))

    def along(t):
        return trial.run64(inverse, Inputs(line(t), trial.first(len(t))))[0]

    def jumps(value):
        """Return how far each step goes beyond those beside it: where a slope changes, one of the two goes as far."""
        with np.errstate(invalid="ignore"):
            steps = difference(image, value[1:], value[:-1]).reshape(len(value) - 1, -1)
            aside = np.minimum(np.abs(steps[1:-1] - steps[:-2]), np.abs(steps[1:-1] - steps[2:]))
        return np.nan_to_num(aside, nan=0.0, posinf=0.0).max(axis=1)

    t = np.linspace(-REACH, REACH, PLACES * PARTS)
    places = 1 + np.argsort(jumps(along(t)))[: -PLACES - 1 : -1]
    closer = np.stack([np.linspace(t[i], t[i + 1], PARTS) for i in places])
    for t, value in zip(closer, split(along(closer.ravel()), PARTS), strict=True):
        beyond = jumps(value)
        i = 1 + int(np.argmax(beyond))
        # So far from it that what measures errors does not step over it.
        aside = max(t[1] - t[0], 4 * np.sqrt(trial.eps) * max(1, abs(t[i])))
        beside = line(np.array([t[i] - aside, t[i + 1] + aside, t[i] - 8 * aside]))
        between = np.stack([value[i] + share * (value[i + 1] - value[i]) for share in (0.25, 0.5, 0.75)])
        jump, where = np.max(difference(image, value[i + 1], value[i])), " and ".join(map(point, beside[:2]))
        hint = f"There {SIDES[inverse]} jumps, by {jump:.3g}, between {where}. {gaps.hint}"
        yield beside, between, hint if beyond[i - 1] > jump / 2 else None


@clause("codomain", needs=(False,))
def codomain(trial):
    """Require that forward(x) lies in the declared codomain.

    Hint: Declare the codomain in the spec, or map onto the one declared.
    """
    _lands(trial.measured_in(False), trial.spec.codomain, trial.points(False), "forward(x)")


@clause("domain", needs=(True,))
def domain(trial):
    """Require that inverse(z) lies in the declared domain, and that forward is finite on all of that.

    Hint: The declared domain is larger or smaller than the one on which the map works.
    """
    _lands(trial.measured_in(True), trial.spec.domain, trial.points(True), "inverse(z)")
    # On all of the real line overflow may be right: clause "finite".
    if trial.spec.domain != Domain.REAL and trial.subject.has(False):
        _finite(trial.measured_in(False), trial.points(False))


def _lands(measured, domain, where, what):
    """Require that outputs lie in a domain, or on its edge, where rounding puts the points beside it."""
    value = measured.output.value
    # Overflow towards an open end is for the clause "finite" to judge; NaN is nowhere.
    slack = np.nan_to_num(ROUNDINGS * measured.output.error, nan=0.0)
    good = domain.inside(value, slack) | ((domain == Domain.REAL) & ~np.isfinite(value))
    row = int(np.argmin(in_all_entries(np.broadcast_to(good, value.shape))))
    require(good.all(), f"{what} in {domain}", f"{point(value[row])} at {point(where[row])}", sample=row)


def _finite(measured, where):
    value, log_det = measured.output.value, measured.log_det.value
    good = np.isfinite(log_det) & in_all_entries(np.isfinite(value))
    # A power of some thousands overflows in the middle of its domain, as its log-det tells; a pole has an infinite one.
    good |= np.isfinite(log_det) & (log_det > STEEP) & in_all_entries(~np.isnan(value))
    row = int(np.argmin(good))
    require(
        good.all(),
        "a finite output and log-det inside the domain",
        f"{point(value[row])} with log-det {log_det[row]:.6g} at {point(where[row])}",
        sample=row,
    )


@clause("rearranges", per="event")
def rearranges(trial):
    """Require that both directions return the numbers of their input in other places, if the spec says so.

    Hint: rearranges=True lets any domain through a Chain: take it out of the spec of a map that changes values.
    """
    ask_unless(not trial.spec.rearranges, "the spec does not say that it rearranges")
    for inverse, (points, *_) in trial.directions:
        value = trial.run64(inverse)[0]
        given, found = (np.sort(rows.reshape(len(points), -1), axis=1) for rows in (points, value))
        fits = given.shape == found.shape
        row = int(np.argmin((given == found).all(axis=1))) if fits else 0
        require(
            fits and (given == found).all(),
            f"the numbers of {point(points[row])} in other places from {SIDES[inverse]}",
            point(value[row]),
            sample=row,
        )
