"""Outputs and gradients stay finite wherever the true ones fit into a float32."""

import numpy as np
from keras import ops

from flowkit import backends
from flowkit.contract import Domain
from flowkit.testing.clauses.clause import clause
from flowkit.testing.given import contexts
from flowkit.testing.given.example import ROWS
from flowkit.testing.given.functions import tensors
from flowkit.testing.given.points import points_of
from flowkit.testing.given.tolerances import large
from flowkit.testing.verdicts.broken import Broken, Undecided, point

LIMIT = float(np.finfo("float32").max)
HINT = "exp of a large number, log of a rounded zero, or 0 * inf: rewrite with log1p, expm1 or a maximum."


@clause(
    "finite",
    "outputs and log-dets are finite in float32, unless the true ones are too large for it",
    hint=HINT,
    per="event",
)
def finite(trial):
    for inverse, _ in trial.directions:
        event = trial.latent_event if inverse else trial.event
        domain = trial.domain(inverse)
        for ray in trial.rays(event):
            _follow(trial, domain, ray, inverse)


def _follow(trial, domain, ray, inverse):
    """Go outward along one ray; where an answer stops being finite, look closer at where it does."""
    sizes = np.asarray(SIZES)
    for _ in range(CLOSER):
        rows = points_of(domain, sizes.reshape(-1, *(1,) * (ray.ndim - 1)) * ray)
        context = contexts.rows(trial.context, [0] * len(rows))
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
    raise Broken(
        f"a finite output and log-det from {'inverse' if inverse else 'forward'}",
        f"{point(value[first])} with log-det {log_det[first]:.6g} at {point(rows[first])}"
        + (f", where {point(rows[first - 1])} gives {point(value[first - 1])}" if first else ""),
        sample=0,
        hint=None if domain != Domain.REAL else f"{HINT} {_declare(inverse)}",
    )


def _declare(inverse):
    """What to write if numbers like these are none of the layer's."""
    side, word = ("codomain", "gives") if inverse else ("domain", "takes")
    return (
        f"If that is outside of what the layer {word}, declare it: spec = BijectorSpec({side}=Domain.POSITIVE), or "
        "another Domain."
    )


CLOSER = 3
"""How often to look closer: three times 256 steps reach the spacing of float32 numbers."""

SIZES = tuple(2.0 ** (k / 16) for k in range(-48, 209))
"""From 1/8 to 8192 in steps small enough that an exponential comes near the limit before it passes it."""


def _at_the_limit(value, log_det):
    """Whether the last finite answer is so large that the next may truly not fit.

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
    asked = [inverse for inverse, _ in trial.directions if no_gradients(trial.spec, inverse) is None]
    if not asked:
        raise Undecided(no_gradients(trial.spec, trial.directions[0][0]))
    judged = [_finite_gradient(trial, inverse) for inverse in asked]
    if not any(judged):
        raise Undecided("all outputs are too large")


def no_gradients(spec, inverse):
    """Why no gradients are promised of one direction, or None."""
    if (spec.inverse if inverse else spec.forward) == "iterative" and not spec.solver_gradients:
        return "no gradients of what is solved, as the spec says (solver_gradients=False)"
    return None


def _finite_gradient(trial, inverse):
    """Whether there was a sample to judge: one whose answers fit, which then stands in for the others."""
    measured, x = trial.measured_in(inverse), trial.points(inverse)
    good = fits(measured, trial.unit_of(inverse))
    if not good.any():
        return False
    rows = np.where(good, np.arange(ROWS), np.argmax(good))
    x, context, noise = x[rows], *(contexts.rows(g, rows) for g in (trial.context, trial.noise(inverse)))
    layer, side = trial.layer64, "inverse" if inverse else "forward"
    names = ["x", *(v.path for v in layer.trainable_variables)]
    with backends.float64():
        values = [x, *(v.numpy().astype("float64") for v in layer.trainable_variables)]
        for of, answer in ((0, measured.value), (1, measured.log_det)):
            run = trial.subject.gradient(trial.event, inverse, of, context is not None)
            _, grads = run([*map(_tensor, values)], *tensors(np.ones_like(answer), context, noise))
            for name, grad in zip(names, grads, strict=True):
                if not np.isfinite(_numpy(grad)).all():
                    raise Broken(
                        f"a finite gradient of {side}'s {('output', 'log-det')[of]} for {name}",
                        f"{point(_numpy(grad).ravel())} at {point(x)}",
                    )
    return True


def fits(measured, eps):
    """For each sample: whether its answers are finite, and so small that their gradients can be."""
    with np.errstate(invalid="ignore"):
        good = np.abs(measured.value) < large(eps)  # NaN is not
        # The log-density of what is dropped grows with its square.
        return (np.abs(measured.log_det) < large(eps)) & good.reshape(len(good), -1).all(axis=1)


def _tensor(value):
    return tensors(value, None)[0]


def _numpy(tensor):
    return ops.convert_to_numpy(tensor)
