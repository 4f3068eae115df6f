"""The results of one example for one subject, each computed once."""

import contextlib
import functools
import math

import numpy as np
from keras import ops

from flowkit.contract.inside import layers_inside
from flowkit.contract.precision import rounding_unit
from flowkit.engines import engine
from flowkit.testing.examples import ROWS
from flowkit.testing.inputs import Inputs, direction, each, noise_for, points_of
from flowkit.testing.judging import (
    SIDES,
    Broken,
    Imprecise,
    ask_unless,
    in_all_entries,
    judge,
    require,
    unlike,
)
from flowkit.testing.subject import kept, nudged
from flowkit.testing.tolerances import ROUNDINGS, STEPS, WEIGHT_STEP, Measured, large, measure, tame


class Trial:
    """The points of an example, and both directions there in float64, with measured errors.

    Arrays are numpy's; the first axis is the sample. `draw` numbers the random draw by which errors are measured;
    another number is a second measurement.
    """

    def __init__(self, subject, example, draw=0):
        self.subject, self.example, self.draw, self.event = subject, example, draw, tuple(example.event)
        self.seed = example.seed
        silent = subject.spec.context == "optional" and example.seed % 2 == 0
        self.context = None if silent else subject.context(self.event, self.seed, ROWS)
        self.elsewhere = {}

    def again(self, context, points):
        """Return this trial with another context, and at some `points` {inverse: array} in place of the example's."""
        other = Trial(self.subject, self.example, self.draw)
        other.context, other.elsewhere = context, points
        return other

    @functools.cached_property
    def spec(self):
        """Return the promises of the layer that is built for the event: some depend on its size."""
        return self.subject.layer(self.event).spec

    # Points

    @kept
    def points(self, inverse):
        """Return the points of a direction, (ROWS, *event)."""
        if inverse in self.elsewhere:
            return self.elsewhere[inverse]
        return points_of(self.domain(inverse), self.example.real(self.events(inverse)[0]))

    @functools.cached_property
    def latent_event(self):
        """Return the shape of a latent event."""
        return tuple(self.layer32.compute_output_shape((None, *self.event)))[1:]

    @property
    def directions(self):
        """Return (inverse, `Inputs`) for each direction that the layer has."""
        return [(inverse, self.inputs(inverse)) for inverse in (False, True) if self.subject.has(inverse)]

    @kept
    def inputs(self, inverse):
        shape = (ROWS, *self.events(inverse)[0])
        noise = noise_for(self.layer32, shape, inverse, self.seed)
        return Inputs(self.points(inverse), self.context, noise)

    def first(self, count):
        """Return the context of the first sample for each of `count` samples."""
        return each(lambda array: array[[0] * count], self.context)

    def events(self, inverse):
        """Return the shapes of an input event and an output event of a direction."""
        return (self.latent_event, self.event) if inverse else (self.event, self.latent_event)

    def domain(self, inverse):
        """Return the set of the points of a direction."""
        return self.subject.spec.codomain if inverse else self.subject.spec.domain

    def named(self, inverse):
        """Return the names of the two outputs of that direction in messages."""
        return f"output of {SIDES[inverse]}", f"log_det of {SIDES[inverse]}"

    def solved(self, inverse):
        """Return True if that direction is solved to a tolerance."""
        return (self.spec.inverse if inverse else self.spec.forward) == "iterative"

    # The float32 copy, as users call it

    @property
    def layer32(self):
        return self.subject.weighted(self.example)

    def run32(self, inverse, given=None, layer=None, training=None):
        """Return one direction of the float32 copy, eager, on fresh tensors: numpy arrays (value, log_det).

        By default it runs on the inputs of this trial. If others lack noise, they receive that of the first samples,
        over and over.
        """
        layer, given = layer or self.layer32, given or self.inputs(inverse)
        if given.noise is None:
            given = given._replace(noise=noise_for(layer, given.x.shape, inverse, self.seed))
        return self.answers(direction(layer, inverse, training), given, layer)

    @staticmethod
    def answers(run, given, layer):
        """Return `run`, a function like a direction of `layer`, of these inputs: numpy arrays (value, log_det)."""
        return tuple(map(ops.convert_to_numpy, run(*given.tensors(layer.compute_dtype))))

    # The float64 copy

    @property
    def layer64(self):
        return self.subject.weighted(self.example, wide=True)

    def run64(self, inverse, given=None, finer=False):
        """Return one direction of the float64 copy: numpy arrays. Points may be those of several batches."""
        given = given or self.inputs(inverse)
        if given.noise is None:
            given = given._replace(noise=self.inputs(inverse).noise)
        self.layer64  # noqa: B018  (sets the weights)
        run = self.subject.value(self.event, inverse, finer)
        with engine.float64():
            answers = run(*given.tiled().tensors())
            return tuple(np.asarray(ops.convert_to_numpy(part), "float64") for part in answers)

    def _with_moved_weights(self, inverse, draw):
        def run(given):
            layer = self.layer64
            with engine.float64():
                layer.set_weights(nudged(layer, WEIGHT_STEP, np.random.default_rng([draw, 4])))
            try:
                return self.run64(inverse, given)
            finally:
                self.subject.forget(self.event, wide=True)

        return run

    @property
    def eps(self):
        """Return the rounding unit of the type in which the float64 copy really computes."""
        return self.subject.eps(self.event)

    def measured(self, x, inverse, input_error=0.0):
        """Return one direction at `x`, with its error by rounding."""
        layer, eps = self.layer64, self.eps
        moves = []
        if any("float" in str(v.dtype) for v in layer.weights):
            moves = [self._with_moved_weights(inverse, draw) for draw in (0, 1)]
        given = self.inputs(inverse)._replace(x=x)
        measured = Measured(
            *measure(
                functools.partial(self.run64, inverse),
                given,
                eps=eps,
                domain=self.domain(inverse),
                input_error=input_error,
                weight_moves=moves,
                seed=self.draw,
            )
        )
        # A sum over n entries adds n roundings of terms that may cancel, and each term has a few of its own.
        measured.log_det.error += eps * np.sqrt(x[0].size + 3)
        if self.takes_steps:
            for answer, finer in zip(measured, self.run64(inverse, given, finer=True), strict=True):
                answer.steps = STEPS * np.abs(finer - answer.value)
        return measured

    @functools.cached_property
    def takes_steps(self):
        """Return True if the layer solves differential equations step by step."""
        return any(getattr(layer, "takes_steps", False) for layer in layers_inside(self.subject.model))

    @kept
    def measured_in(self, inverse):
        """Return one direction at its points."""
        return self.measured(self.points(inverse), inverse)

    @kept
    def measured_after(self, inverse):
        """Return the other direction at what `measured_in(inverse)` gives, with how far off that may be."""
        there = self.measured_in(inverse).output.value
        return self.measured(there, not inverse, input_error=self.answer_error(inverse))

    # The errors that the spec declares

    def declared(self, x):
        """Return the declared round-trip error, in units of a float32's epsilon and of max(1, |x|).

        A solver stops at a tolerance that does not become finer with the precision it runs in, so the unit
        is that of the precision layers have by default.
        """
        return self._allowed(self.spec.allowed_round_trip, x)

    def declared_log_det(self, log_det, inverse):
        """Return the declared error of one direction's log-det, in units of epsilon and of max(1, |log_det|).

        Only a direction that is solved may err by what a spec does not declare.
        """
        if not self.solved(inverse) and self.spec.log_det_error is None:
            return np.zeros_like(log_det)
        return self._allowed(self.spec.allowed_log_det_error, log_det)

    def _allowed(self, units, size):
        unit = 2.0**-23 if self.spec.solved else max(self.eps, 2.0**-52)
        with np.errstate(invalid="ignore"):  # an infinite answer has no allowed error
            return units * unit * np.maximum(1, np.abs(size))

    def answer_error(self, inverse):
        """Return the error of inverse(z), or of forward(x): rounding, and what the spec of a solved one declares."""
        answer = self.measured_in(inverse).output
        solved = inverse or self.spec.forward == "iterative"
        return answer.error + answer.steps / ROUNDINGS + (self.declared(answer.value) if solved else 0.0)

    # Which points can be judged

    def resolved(self, z, error, domain):
        """Return for each sample if all of `z` is not too large, and farther from the domain's edge than its error."""
        with np.errstate(invalid="ignore"):
            small = (np.abs(z) < large(self.eps)) & np.isfinite(error)  # NaN is not
            good = small & domain.inside(z, np.where(domain.kinds == "interval", -error, error))
        return in_all_entries(good)

    def comes_back(self, inverse):
        """Return for each sample if what comes back, after that direction and the other one, can be judged."""
        there, error = self.measured_in(inverse).output.value, ROUNDINGS * self.answer_error(inverse)
        straight = tame(self.measured_after(inverse), self.points(inverse))
        return self.resolved(there, error, self.domain(not inverse)) & straight

    def float32_errors(self, inverse):
        """Return the measured errors of (output, log_det) of one direction, in float32's units."""
        grow = rounding_unit("float32") / self.eps
        return [grow * answer.error for answer in self.measured_in(inverse)]

    def agree32(self, inverse, expected, received, what, order=slice(None), allowed=None):
        """Raise `Broken` unless two answers of the float32 copy agree up to rounding; return if one can be judged.

        `what` holds {} for the name of the answer; `order` selects the samples that they are of.
        """
        judged = False
        allowed = allowed or [
            np.minimum(2 * ROUNDINGS * error[order], np.maximum(1, np.abs(answer)) / 32)
            for error, answer in zip(self.float32_errors(inverse), expected, strict=True)
        ]
        for name, a, b, error in zip(self.named(inverse), expected, received, allowed, strict=True):
            require(a.shape == b.shape, f"{what.format(name)} of shape {a.shape}", f"{b.shape}")
            a, b, where = a.astype("float64"), b.astype("float64"), self.points(inverse)[order]
            finite = in_all_entries(np.isfinite(a))
            with contextlib.suppress(Imprecise):
                judge(a, b, error, what=what.format(name), where=where, among=finite)
                judged = True
        return judged

    def same(self, inverse, expected, received, where, what):
        """Raise `Broken` unless two answers of one direction at the points `where` are equal, bit for bit.

        `what` is the expectation, with {} for the name of the answer.
        """
        for name, a, b in zip(self.named(inverse), expected, received, strict=True):
            if not np.array_equal(a, b, equal_nan=True):
                raise Broken(what.format(name), unlike(a, b, where))

    # The Jacobian of the leading direction

    @functools.cached_property
    def jacobians(self):
        """Return (J, its rounding noise) of the leading direction at its points: (ROWS, outputs, inputs) each.

        By automatic differentiation, with respect to its input; if `joint` to its input and its noise, or to its noise
        alone if the inputs are whole numbers.
        """
        inverse, joint = leading(self.subject)
        given, domain, eps = self.inputs(inverse), self.domain(inverse), self.eps
        run = functools.partial(self._jacobian64, inverse, joint)
        # At an exact zero there may be a kink, where a slope is a matter of taste: it shows in one that
        # differs on both sides. (One that is wrong at the zero alone agrees on both.)
        aside = np.where(given.x == 0, np.sqrt(eps) / 1024, 0.0)
        (found,) = measure(run, given, eps=eps, domain=domain, input_error=aside, seed=self.draw)
        base, error, kink = found.value, found.error, found.spread
        with np.errstate(all="ignore"):
            # A slope that is a small difference of terms of the output's size has their rounding: an engine's
            # rule for expm1 is expm1(x) + 1, whose steps are so wide where it is flat that no step shows them.
            outputs = np.abs(self.measured_in(inverse).output.value).reshape(ROWS, -1, 1)
            input_sizes = np.maximum(1, np.abs(_flat(given, joint))).reshape(ROWS, 1, -1)
            error = error + kink + eps * np.nan_to_num(outputs, posinf=0.0) / input_sizes
        if self.takes_steps:
            error = error + STEPS / ROUNDINGS * np.abs(run(given, finer=True)[0] - base)
        if not joint:
            return base, error
        # Whole numbers do not vary: the output depends on the other columns and on the noise.
        whole = np.resize(domain.kinds == "whole", given.x[0].size)
        columns = np.flatnonzero(np.concatenate([~whole, np.ones(given.noise.shape[1], bool)]))
        return base[..., columns], error[..., columns]

    def _jacobian64(self, inverse, joint, given, finer=False):
        """Return d output / d (input, noise) of each row: the gradient of each output, of a row of its own."""
        self.layer64  # noqa: B018  (sets the weights)
        run = self.subject.gradient(self.event, inverse, 0, joint, finer)
        rows, outputs = len(given.x), math.prod(self.events(inverse)[1])
        repeated = each(lambda array: np.repeat(array, outputs, axis=0), given.tiled())
        with engine.float64():
            x, context, noise = repeated.tensors()
            cotangent = ops.convert_to_tensor(np.tile(np.eye(outputs), (rows, 1)))
            _, found = run([x, noise] if joint else [x], cotangent, context, noise)
            parts = [ops.convert_to_numpy(part).reshape(rows, outputs, -1) for part in found]
        return (np.concatenate(parts, axis=-1).astype("float64"),)


def _flat(given, joint):
    """Return the rows of points, with their noise behind them if `joint`."""
    rows = given.x.reshape(len(given.x), -1)
    return np.concatenate([rows, given.noise], axis=1) if joint else rows


def leading(subject):
    """Return (inverse, joint) of the direction whose log-det is compared with its Jacobian; raise `NotAsked` for none.

    Its output depends on as many numbers as it has: on its input, and on its noise if `joint`.

    For a surjection it is the one that draws: its log-det is log|det d output / d (input, noise)| less the log-density
    of the noise. For a bijector it is forward, unless that is solved, or missing, and the inverse is not.
    """
    spec = subject.spec
    if any(subject.model.is_lossy(inverse=inverse) for inverse in (False, True)):
        ask_unless(spec.noise == "both", "both directions draw")
        return spec.noise == "inverse", True
    ask_unless(spec.likelihood == "bound", "the spec promises a bound alone")
    solved = spec.forward in ("iterative", "none") and spec.inverse in ("analytic", "sequential")
    return solved and subject.has(True), False


def tied(subject):
    """Return the direction after which the other's log-det must be minus its own; raise `NotAsked` for none."""
    inverse, joint = leading(subject)
    return inverse if joint else True
