"""Outputs and gradients are finite wherever the true ones fit into a float32; gradients are the function's own."""

import keras
import numpy as np
from keras import ops

from flowkit.contract import Domain
from flowkit.engines import engine
from flowkit.testing.inputs import Inputs, direction, floating, points_of, within
from flowkit.testing.judging import SIDES, Broken, Undecided, clause, in_all_entries, judge, point, require
from flowkit.testing.tolerances import ROUNDINGS, large

LIMIT = float(np.finfo("float32").max)

CLOSER = 3
"""The number of closer looks: three times 256 steps reach the spacing of float32 numbers."""

SIZES = tuple(2.0 ** (k / 16) for k in range(-48, 209))
"""From 1/8 to 8192 in steps small enough that an exponential comes near the limit before it passes it."""

_TOO_LARGE = "all outputs are too large"


@clause("finite", per="event")
def finite(trial):
    """Require that outputs and log-dets are finite in float32, unless the true ones are too large for it.

    Hint: exp of a large number, log of a rounded zero, or 0 * inf: rewrite with log1p, expm1 or a maximum.
    """
    for inverse, _ in trial.directions:
        domain = trial.domain(inverse)
        found = first_infinite(trial, inverse, _at_the_limit)
        if found is None:
            continue
        x, value, log_det, before = found
        side, word = ("codomain", "gives") if inverse else ("domain", "takes")
        declare = (
            f"If that is outside of what the layer {word}, declare it: spec = BijectorSpec({side}=Domain.POSITIVE), or "
            "another Domain."
        )
        raise Broken(
            f"a finite output and log-det from {SIDES[inverse]}",
            f"{point(value)} with log-det {log_det:.6g} at {point(x)}{before}",
            sample=0,
            hint=None if domain != Domain.REAL else f"{finite.hint} {declare}",
        )


def first_infinite(trial, inverse, at_the_limit):
    """Return (x, value, log_det, text) of the first point far out where an answer is not finite; None if there is none.

    Go outward along rays: all entries up, all down, mixed. Where an answer stops being finite, look closer at where it
    does. It may be infinite if `at_the_limit(value, log_det)` is true of the last finite one, which `text` shows.
    """
    up = np.ones((1, *trial.events(inverse)[0]))
    for ray in (up, -up, np.random.default_rng([trial.seed, 7]).normal(size=up.shape)):
        sizes = np.asarray(SIZES)
        for _ in range(CLOSER):
            rows = points_of(trial.domain(inverse), sizes.reshape(-1, *(1,) * (ray.ndim - 1)) * ray)
            value, log_det = trial.run32(inverse, Inputs(rows, trial.first(len(rows))))
            good = np.isfinite(log_det) & in_all_entries(np.isfinite(value))
            first = int(np.argmin(good))
            if good.all() or (first and at_the_limit(value[first - 1], log_det[first - 1])):
                break
            before = f", where {point(rows[first - 1])} gives {point(value[first - 1])}" if first else ""
            found = rows[first], value[first], log_det[first], before
            if not first:
                return found
            sizes = np.linspace(sizes[first - 1], sizes[first], len(sizes))
        else:
            return found
    return None


def _at_the_limit(value, log_det):
    """Return True if the last finite answer is so large that the next may truly not fit.

    Steps are so fine in the end that a smooth function has no room to jump from below the power 0.4 of
    the largest float32 to beyond it.
    """
    return bool(np.max(np.abs(value)) > LIMIT**0.4 or np.abs(log_det) > np.log(LIMIT) * 0.4)


@clause("finite gradient")
def finite_gradient(trial):
    """Require finite gradients of output and log-det wherever these are finite, also in an analytic inverse.

    Hint: where() does not stop a gradient of the branch not taken: make its argument harmless as well.
    """
    _each_direction(trial, _TOO_LARGE, _finite_gradient)


def _finite_gradient(trial, inverse):
    given, _ = _that_fit(trial, inverse)
    for of, answer in enumerate(trial.measured_in(inverse)):
        with engine.float64():
            total = _sum(trial, inverse, of, given, np.ones_like(answer.value))
        for name, grad in zip(total.names, total.grads, strict=True):
            require(
                np.isfinite(grad).all(),
                f"a finite gradient of {SIDES[inverse]}'s {('output', 'log-det')[of]} for {name}",
                f"{point(grad.ravel())} at {point(given.x)}",
            )
    return True


def _each_direction(trial, undecided, compare):
    """Call `compare(trial, inverse)` for each direction with gradients; raise `Undecided` if none can be judged."""
    judged, reasons = 0, []
    for inverse, _ in trial.directions:
        try:
            if trial.solved(inverse) and not trial.spec.solver_gradients:
                raise Undecided("no gradients of what is solved, as the spec says (solver_gradients=False)")
            judged += compare(trial, inverse)
        except Undecided as found:
            reasons.append(str(found))
    if not judged:
        raise Undecided(reasons[0] if reasons else undecided)


def _that_fit(trial, inverse):
    """Return (inputs, rows) of the samples whose answers are finite, and so small that gradients can be.

    One that fits stands in for the others.
    """
    measured, limit = trial.measured_in(inverse), large(trial.eps)
    with np.errstate(invalid="ignore"):
        good = np.abs(measured.output.value) < limit  # NaN is not
        # The log-density of what is dropped grows with its square.
        good = (np.abs(measured.log_det.value) < limit) & in_all_entries(good)
    if not good.any():
        raise Undecided(_TOO_LARGE)
    rows = np.where(good, np.arange(len(good)), np.argmax(good))
    return trial.inputs(inverse).rows(rows), rows


def _sum(trial, inverse, of, given, cotangent):
    """Return the `Sum` of a direction's outputs (0) or log-dets (1) times `cotangent`; call it in float64."""
    start = [("x", given.x), *((v.path, v.numpy()) for v in trial.layer64.trainable_variables)]
    start += floating(given.context).items()  # an embedding learns by its gradients
    run = trial.subject.gradient(trial.event, inverse, of)
    _, *more = given.tensors()
    return Sum(run, start, ops.convert_to_tensor(cotangent), *more)


@clause("output gradient", per="event")
def output_gradient(trial):
    """Require that gradients of the output for input, context and weights equal finite differences, both ways.

    Hint: A stop_gradient, a detached or rounded value, a custom gradient or a solver's loop may be in the way.
    solver_gradients=False in the spec declares that what is solved has none.
    """
    _differences(trial, of=0)


@clause("log-det gradient", per="event")
def log_det_gradient(trial):
    """Require that gradients of the log-det for input, context and weights equal finite differences, both ways.

    Hint: A stop_gradient, a detached or rounded value, numpy or a solver's loop in the log-det may be in the way.
    solver_gradients=False in the spec declares that what is solved has none.
    """
    _differences(trial, of=1)


def _differences(trial, of):
    reason = "too flat, or too bent, for differences to tell"
    _each_direction(trial, reason, lambda trial, inverse: _compare(trial, inverse, of))


def _compare(trial, inverse, of):
    """Return how many of the gradients of one direction could be judged."""
    given, rows = _that_fit(trial, inverse)
    measured, eps = trial.measured_in(inverse)[of], trial.eps
    answer, error = measured.value[rows], measured.error[rows]
    rng = np.random.default_rng([trial.seed, 6])
    cotangent = rng.normal(size=answer.shape)
    rounding = ROUNDINGS * float(np.sum(np.abs(cotangent) * (eps * np.abs(answer) + error)))
    if trial.solved(inverse):
        # Each difference is off by what both of its ends may be: a wider step makes less of it.
        stops = trial.declared_log_det(answer, inverse) if of else trial.declared(answer)
        rounding += 2 * float(np.sum(np.abs(cotangent) * stops))
        eps = max(eps, float(np.max(stops / np.maximum(1, np.abs(answer)))))
    with engine.float64():
        total = _sum(trial, inverse, of, given, cotangent)
        return total.compare(trial.named(inverse)[of], eps, rounding, rng, trial.domain(inverse))


class Sum:
    """A weighed sum of answers as a function of some arrays: its value, its gradients and differences.

    `run(tensors, *constants)` is compiled by `engine.compile_gradients`; `start` has (name, array) pairs.
    Use it in the scope of float64.
    """

    def __init__(self, run, start, *constants):
        self._run, self._constants = run, constants
        self.names, self.values = zip(
            *((name, value.astype("float64")) for name, value in start), strict=True
        )
        self.value, self.grads = self._at()

    def _at(self, i=0, move=0.0):
        """Return (value, gradients) where the i-th array has moved."""
        values = [value + move if j == i else value for j, value in enumerate(self.values)]
        values = [ops.convert_to_tensor(value, dtype="float64") for value in values]
        value, grads = self._run(values, *self._constants)
        grads = [np.asarray(ops.convert_to_numpy(grad), "float64") for grad in grads]
        return float(ops.convert_to_numpy(value)), grads

    def compare(self, what, eps, rounding, rng, domain=None):
        """Compare the gradient for each array with differences; return how many could be judged.

        `rounding` is the error of the value. Raises `Broken` for one that is wrong. The first array holds points of
        `domain`, unless that is None.
        """
        judged = 0
        for i, (name, value) in enumerate(zip(self.names, self.values, strict=True)):
            # The cube root of the unit balances rounding and curvature.
            step = np.cbrt(eps) * np.maximum(1e-2, np.abs(value))
            if i == 0 and domain is not None:
                move = within(domain, value, step, rng)
            else:
                move = step * rng.choice([-1.0, 1.0], size=step.shape)
            judged += self._agrees(i, move, f"d/d {name} of {what}", rounding)
        return judged

    def _agrees(self, i, move, what, rounding):
        """Compare the derivative along a move of the i-th array with differences at the move and at half of it.

        Raises `Broken` if they differ; returns False if they cannot tell.
        """
        share = self.grads[i] * move
        plus, minus, half_plus, half_minus = (self._at(i, factor * move)[0] for factor in (1, -1, 0.5, -0.5))
        coarse, fine = (plus - minus) / 2, half_plus - half_minus
        expected = (4 * fine - coarse) / 3  # Richardson: the error is of fourth order
        # Two steps disagree where a third derivative matters, two sides where there is a kink.
        kink = abs(abs(plus - 2 * self.value + minus) - 4 * abs(half_plus - 2 * self.value + half_minus))
        allowed = abs(expected - coarse) + kink + rounding
        size = max(abs(expected), float(np.abs(share).sum()), 1e-300)  # what the step could have changed
        if size <= 16 * allowed and np.isfinite(share).all():
            return False  # too flat, or too bent
        expected, received, allowed = expected / size, share.sum() / size, allowed / size
        judge(np.array([expected]), np.array([received]), np.array([allowed]), what=f"{what}, relative")
        return True


def gradients(layer, inverse, given, variables, values=None):
    """Return the gradients of a function of both outputs for the points and some variables, perhaps at other `values`.

    `given` holds tensors.
    """
    x, context, noise = given
    run = direction(layer, inverse)

    def loss(values):
        x, *rest = values
        with keras.StatelessScope(state_mapping=list(zip(variables, rest, strict=True))):
            value, log_det = run(x, context, noise)
        return ops.sum(ops.sin(value)) + ops.sum(log_det)

    values = [x, *variables] if values is None else values
    _, found = engine.gradients(loss, [ops.convert_to_tensor(value) for value in values])
    return [ops.convert_to_numpy(gradient) for gradient in found]
