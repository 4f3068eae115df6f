"""The Jacobian of one direction, with the noise that rounding leaves in it."""

import math

import numpy as np
from keras import ops

from flowkit import backends
from flowkit.testing.given.example import ROWS
from flowkit.testing.given.functions import tensors
from flowkit.testing.given.points import room
from flowkit.testing.given.tolerances import PAIRS, smallest


def jacobian(trial, inverse, joint):
    """(J, its rounding noise) of a direction at its points, by automatic differentiation: (ROWS, outputs, inputs) each.

    `joint`: with respect to its input and its noise, or to its noise alone if the inputs are whole numbers.
    """
    points, noise, domain = trial.points(inverse), trial.noise(inverse), trial.domain(inverse)
    rng = np.random.default_rng([trial.seed, 5, trial.draw])
    eps, size = trial.unit_of(inverse), math.prod(points.shape[1:])
    x, free = points.reshape(ROWS, -1), room(domain, points).reshape(ROWS, -1)
    if joint:
        x = np.concatenate([x, noise], axis=1)
        free = np.concatenate([free, np.full(noise.shape, np.inf)], axis=1)
    tick = np.minimum(np.sqrt(eps) * np.abs(x), free / 2)
    pieces = [x]
    for _ in range(PAIRS):
        # No round steps: a power of two times x lands on numbers whose rounding repeats itself.
        move = tick * rng.choice([-1.0, 1.0], size=x.shape) * rng.uniform(0.5, 1, size=x.shape)
        pieces += [x + move, x - move]
    # At an exact zero there may be a kink, where a slope is a matter of taste: it shows in one that
    # differs on both sides. (One that is wrong at the zero alone agrees on both.)
    aside = np.where(x == 0, np.sqrt(eps) / 1024, 0.0)
    pieces += [x + aside, x - aside] if domain.kind == "interval" or domain.columns else [x, x]
    jac = _run(trial, inverse, joint, np.concatenate(pieces), points.shape[1:])
    base, *others, right, left = [jac[i : i + ROWS] for i in range(0, len(jac), ROWS)]
    with np.errstate(all="ignore"):
        # Its own rounding, and how far it moves when x is off by a rounding of its own.
        pairs = list(zip(others[::2], others[1::2], strict=True))
        wobble = [np.abs(a - 2 * base + b) + np.abs(a - b) * np.sqrt(eps) for a, b in pairs]
        # A slope that is a small difference of terms of the output's size has their rounding: an engine's
        # rule for expm1 is expm1(x) + 1, whose steps are so wide where it is flat that no step shows them.
        outputs = np.abs(trial.measured_in(inverse).value).reshape(ROWS, -1, 1)
        inputs = np.maximum(1, np.abs(x)).reshape(ROWS, 1, -1)
        floor = eps * np.nan_to_num(outputs, posinf=0.0) / inputs
        kink = np.abs(right - left)
    error = np.max(wobble, axis=0) + floor + kink + smallest(eps)
    columns = slice(size, None) if joint and domain.kind == "whole" else slice(None)
    return base[..., columns], error[..., columns]


def _run(trial, inverse, joint, rows, event):
    context = trial.given_context(len(rows))
    noise = None if joint else trial.given_noise(inverse, len(rows))
    function = trial.subject.jacobian(trial.event, inverse, event, joint, context is not None)
    trial.layer64  # noqa: B018  (sets the weights)
    with backends.float64():
        return np.asarray(ops.convert_to_numpy(function(*tensors(rows, context, noise)))).astype("float64")
