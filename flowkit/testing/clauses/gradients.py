"""Outputs and gradients are finite wherever the true ones fit into a float32; gradients are the function's own."""

import numpy as np
from keras import ops

from flowkit.contract import Domain
from flowkit.engines import engine
from flowkit.testing import inputs
from flowkit.testing.clause import clause
from flowkit.testing.functions import tensors
from flowkit.testing.judging import SIDES, Broken, Undecided, judge, point, require
from flowkit.testing.points import points_of, within
from flowkit.testing.tolerances import ROUNDINGS, large

LIMIT = float(np.finfo("float32").max)

CLOSER = 3
"""How often to look closer: three times 256 steps reach the spacing of float32 numbers."""

SIZES = tuple(2.0 ** (k / 16) for k in range(-48, 209))
"""From 1/8 to 8192 in steps small enough that an exponential comes near the limit before it passes it."""

_FINITE = "exp of a large number, log of a rounded zero, or 0 * inf: rewrite with log1p, expm1 or a maximum."
_SOLVER = "solver_gradients=False in the spec declares that what is solved has none."
_TOO_LARGE = "all outputs are too large"


@clause(
    "finite",
    "outputs and log-dets are finite in float32, unless the true ones are too large for it",
    hint=_FINITE,
    per="event",
)
def finite(trial):
    for inverse, _ in trial.directions:
        for ray in trial.rays(trial.events(inverse)[0]):
            _follow(trial, trial.domain(inverse), ray, inverse)


def _follow(trial, domain, ray, inverse):
    """Go outward along one ray; where an answer stops being finite, look closer at where it does."""
    sizes = np.asarray(SIZES)
    for _ in range(CLOSER):
        rows = points_of(domain, sizes.reshape(-1, *(1,) * (ray.ndim - 1)) * ray)
        context = inputs.rows(trial.context, [0] * len(rows))
        value, log_det = trial.call32(rows, context, inverse)
        good = np.isfinite(log_det) & np.isfinite(value).reshape(len(rows), -1).all(axis=1)
        if good.all():
            return
        first = int(np.argmin(good))
        if first and _at_the_limit(value[first - 1], log_det[first - 1]):
            return
        if not first:
            break
        sizes = np.linspace(sizes[first - 1], sizes[first], len(sizes))
    before = f", where {point(rows[first - 1])} gives {point(value[first - 1])}" if first else ""
    side, word = ("codomain", "gives") if inverse else ("domain", "takes")
    declare = (
        f"If that is outside of what the layer {word}, declare it: spec = BijectorSpec({side}=Domain.POSITIVE), or "
        "another Domain."
    )
    raise Broken(
        f"a finite output and log-det from {SIDES[inverse]}",
        f"{point(value[first])} with log-det {log_det[first]:.6g} at {point(rows[first])}{before}",
        sample=0,
        hint=None if domain != Domain.REAL else f"{_FINITE} {declare}",
    )


def _at_the_limit(value, log_det):
    """Return True if the last finite answer is so large that the next may truly not fit.

    Steps are so fine in the end that a smooth function has no room to jump from below the power 0.4 of
    the largest float32 to beyond it.
    """
    return bool(np.max(np.abs(value)) > LIMIT**0.4 or np.abs(log_det) > np.log(LIMIT) * 0.4)


@clause(
    "finite gradient",
    "the gradient of output and log-det is finite wherever they are, also in an analytic inverse",
    hint="where() does not stop a gradient of the branch not taken: make its argument harmless as well.",
)
def finite_gradient(trial):
    _each_direction(trial, _TOO_LARGE, _finite_gradient)


def _finite_gradient(trial, inverse):
    x, context, noise, _ = _that_fit(trial, inverse)
    layer, measured = trial.layer64, trial.measured_in(inverse)
    names = ["x", *(v.path for v in layer.trainable_variables)]
    with engine.float64():
        values = [x, *(v.numpy().astype("float64") for v in layer.trainable_variables)]
        for of, answer in ((0, measured.value), (1, measured.log_det)):
            run = trial.subject.functions.gradient(trial.event, inverse, of, context is not None)
            given = tensors(np.ones_like(answer), context, noise)
            _, grads = run([tensors(value)[0] for value in values], *given)
            for name, grad in zip(names, map(ops.convert_to_numpy, grads), strict=True):
                require(
                    np.isfinite(grad).all(),
                    f"a finite gradient of {SIDES[inverse]}'s {('output', 'log-det')[of]} for {name}",
                    f"{point(grad.ravel())} at {point(x)}",
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
    """Return (x, context, noise, rows) of the samples whose answers are finite, and so small that gradients can be.

    One that fits stands in for the others.
    """
    measured, limit = trial.measured_in(inverse), large(trial.unit_of(inverse))
    with np.errstate(invalid="ignore"):
        good = np.abs(measured.value) < limit  # NaN is not
        # The log-density of what is dropped grows with its square.
        good = (np.abs(measured.log_det) < limit) & good.reshape(len(good), -1).all(axis=1)
    if not good.any():
        raise Undecided(_TOO_LARGE)
    rows = np.where(good, np.arange(len(good)), np.argmax(good))
    given = trial.points(inverse), trial.context, trial.noise(inverse)
    return *(inputs.rows(part, rows) for part in given), rows


@clause(
    "output gradient",
    "the gradient of the output for the input, the context and every weight equals finite differences, also in an "
    "analytic inverse",
    hint="A stop_gradient, a detached or rounded value, a custom gradient or a solver's loop may be in the way. "
    + _SOLVER,
    per="event",
)
def output_gradient(trial):
    _differences(trial, of=0)


@clause(
    "log-det gradient",
    "the gradient of the log-det for the input, the context and every weight equals finite differences, also in an "
    "analytic inverse",
    hint="A stop_gradient, a detached or rounded value, numpy or a solver's loop in the log-det may be in the way. "
    + _SOLVER,
    per="event",
)
def log_det_gradient(trial):
    _differences(trial, of=1)


def _differences(trial, of):
    reason = "too flat, or too bent, for differences to tell"
    _each_direction(trial, reason, lambda trial, inverse: _compare(trial, inverse, of))


def _compare(trial, inverse, of):
    """Return how many of the gradients of one direction could be judged."""
    x, context, noise, rows = _that_fit(trial, inverse)
    measured, layer, eps = trial.measured_in(inverse), trial.layer64, trial.unit_of(inverse)
    answer, error = (
        (measured.log_det, measured.log_det_error) if of else (measured.value, measured.value_error)
    )
    answer, error = answer[rows], error[rows]
    rng = np.random.default_rng([trial.seed, 6])
    cotangent = rng.normal(size=answer.shape)
    rounding = ROUNDINGS * float(np.sum(np.abs(cotangent) * (eps * np.abs(answer) + error)))
    if trial.solved(inverse):
        # Each difference is off by what both of its ends may be: a wider step makes less of it.
        stops = trial.declared_log_det(answer, inverse) if of else trial.declared(answer)
        rounding += 2 * float(np.sum(np.abs(cotangent) * stops))
        eps = max(eps, float(np.max(stops / np.maximum(1, np.abs(answer)))))
    read = inputs.floating(context)  # an embedding learns by its gradients
    names = ["x", *(v.path for v in layer.trainable_variables), *read]
    with engine.float64():
        run = trial.subject.functions.gradient(trial.event, inverse, of, context is not None)
        start = [x, *(v.numpy() for v in layer.trainable_variables), *read.values()]
        start = [value.astype("float64") for value in start]
        constants = tensors(cotangent, context, noise)

        def at(i=0, step=0.0):
            values = [v + step if j == i else v for j, v in enumerate(start)]
            value, grads = run([ops.convert_to_tensor(v, dtype="float64") for v in values], *constants)
            return float(ops.convert_to_numpy(value)), grads

        here, grads = at()
        judged = 0
        for i, (name, grad) in enumerate(zip(names, grads, strict=True)):
            # The cube root of the unit balances rounding and curvature.
            h = np.cbrt(eps) * np.maximum(1e-2, np.abs(start[i]))
            move = (
                h * rng.choice([-1.0, 1.0], size=h.shape) if i else within(trial.domain(inverse), x, h, rng)
            )
            values = [at(i, factor * move)[0] for factor in (1, -1, 0.5, -0.5)]
            share = np.asarray(ops.convert_to_numpy(grad), "float64") * move
            what = f"d/d {name} of the {SIDES[inverse]} direction"
            judged += agree(here, values, share, rounding, what)
    return judged


def agree(here, values, share, rounding, what):
    """Compare one directional derivative, times the step, with differences at the step and at half of it.

    Return False if they cannot tell.
    """
    plus, minus, half_plus, half_minus = values
    coarse, fine = (plus - minus) / 2, half_plus - half_minus
    expected = (4 * fine - coarse) / 3  # Richardson: the error is of fourth order
    # Two steps disagree where a third derivative matters, two sides where there is a kink.
    kink = abs(abs(plus - 2 * here + minus) - 4 * abs(half_plus - 2 * here + half_minus))
    allowed = abs(expected - coarse) + kink + rounding
    size = max(abs(expected), float(np.abs(share).sum()), 1e-300)  # what the step could have changed
    if size <= 16 * allowed and np.isfinite(share).all():
        return False  # too flat, or too bent
    expected, received, allowed = expected / size, share.sum() / size, allowed / size
    judge(np.array([expected]), np.array([received]), np.array([allowed]), what=f"{what}, relative")
    return True
