"""The size of allowed errors, from the actual precision of a computation and its measured conditioning.

Nothing here is chosen by hand but `ROUNDINGS`. A function's own rounding shows in its second
difference at steps of the square root of the unit: a smooth function's is about one unit, so what
is more is noise. (Smaller steps miss it: near 1, where expm1(x) + 1 is all rounding, nothing moves.)
The differences are taken on one side of each point: around x = 0 a shift there and back rounds
both sides alike. On the real line the steps are at least those of 1, since a shift of 0 rounds too.
Its conditioning shows in how far the answer moves when inputs and weights move by a
little. Both are measured at the very points that are judged.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from flowkit.testing.inputs import room

ROUNDINGS = 64
"""The number of rounding errors of the worst kind that one output may add up: the only free number.

Random draws of the direction of a perturbation see about half of the worst case, second differences
of rounding noise a little more than one rounding; events of the sizes drawn pass through some tens
of operations.
"""

STEPS = 4
"""The allowed error of a solve, in units of its difference to one with twice as many steps: Euler's is twice it."""

WEIGHT_STEP = 2.0**-20
"""The relative step by which weights move, to show how the answer is conditioned by them."""

DIRECTIONS, BENDS = 3, 4
"""The numbers of perturbations of each kind. Rounding has steps: a second difference may be 0 by chance."""


@dataclass
class Answer:
    """One answer of a direction, with the first axis for samples, and how far it may be from the exact one.

    `error` is what rounding may have made of it, `spread` how far it moves if the input moves by the error that it came
    with, and `steps` how far the solution of a differential equation is from that of finer steps.
    """

    value: np.ndarray
    error: np.ndarray
    spread: np.ndarray
    steps: np.ndarray | float = 0.0

    def allowed(self, grow: float = 1.0) -> np.ndarray:
        """Return the allowed error, in a precision whose unit is `grow` times that of the computation."""
        return ROUNDINGS * grow * (self.error + self.spread) + self.steps


class Measured(NamedTuple):
    """The two answers of one direction."""

    output: Answer
    log_det: Answer


def measure(function, given, *, eps, domain, input_error=0.0, weight_moves=(), seed=0):
    """Return an `Answer` for each answer of `function(inputs)` at the `Inputs` given, which are off by `input_error`.

    All rows go through in one batch of a fixed size, so an engine that compiles does so once.
    `weight_moves` are functions like `function` whose weights are moved by a relative `WEIGHT_STEP`.
    """
    x, noise, rows = given.x, given.noise, len(given.x)
    rng = np.random.default_rng([seed, x.size])
    space = room(domain, x)
    step = np.minimum(np.sqrt(eps) * np.abs(x), space / 4)
    far = np.where(np.isinf(space), np.sqrt(eps) * np.maximum(1, np.abs(x)), step)
    error = np.minimum(
        np.minimum(input_error, 1e30), np.maximum(space, 0)
    )  # a map may refuse what lies outside
    held, steps, fars, errors = [x], [step], [far], [error]
    if noise is not None:
        small = np.sqrt(eps) * noise
        held, steps, fars, errors = [x, noise], [step, small], [far, small], [error, np.zeros_like(noise)]

    def move(sizes):
        return [n * rng.choice([-1.0, 1.0], size=n.shape) * rng.uniform(0.5, 1, size=n.shape) for n in sizes]

    moves = [move(steps) for _ in range(DIRECTIONS)]
    moves += [
        [times * n for n in there] for there in (move(fars) for _ in range(BENDS)) for times in (1, 2, 3)
    ]
    there = move(errors)
    moves += [there, [-n for n in there], move(errors)]
    stacked = [np.concatenate([a, *(a + there[i] for there in moves)]) for i, a in enumerate(held)]
    if domain.kind == "simplex":
        stacked[0][rows:] /= stacked[0][rows:].sum(axis=-1, keepdims=True)
    stacked = given._replace(**dict(zip(("x", "noise"), stacked, strict=False)))
    answers = [split(part, rows) for part in function(stacked)]
    moved_weights = [[split(part, rows)[0] for part in other(stacked)] for other in weight_moves]
    with np.errstate(all="ignore"):
        # A step that an edge made shorter stands for more of the rounding of x.
        ratio = np.where(step > 0, eps * np.abs(x) / np.where(step > 0, step, 1), 0.0)
        ratio = ratio.reshape(rows, -1).max(axis=1)
        if noise is not None:
            ratio = np.maximum(ratio, np.sqrt(eps))
        results = []
        for which, (base, *parts) in enumerate(answers):
            moved, bent, off = np.split(np.array(parts), [DIRECTIONS, DIRECTIONS + 3 * BENDS])
            near = ratio.reshape(-1, *(1,) * (base.ndim - 1)) * _farthest(base, moved)
            bends = np.abs(bent[::3] - 2 * bent[1::3] + bent[2::3])
            error_out = near + np.max(bends, axis=0) + eps * np.abs(base) + smallest(eps)
            for other in moved_weights:
                error_out = error_out + eps / WEIGHT_STEP * np.abs(other[which] - base)
            results.append(Answer(base, error_out, _farthest(base, off)))
    return results


def _farthest(base, others):
    return np.max([np.abs(other - base) for other in others], axis=0)


def tame(again, start):
    """Return for each sample if what came back moves by less than its size when rounding moves what it came from.

    A map that throws a rounding error farther than that is nowhere near straight, and its slope at the rounded point
    tells nothing of the point that was meant: the one may be flat where the other is steep.
    """
    size = np.maximum(1, np.abs(start).reshape(len(start), -1).max(axis=1))
    return again.output.spread.reshape(len(start), -1).max(axis=1) < size


def split(stacked, rows):
    """Return the pieces of `rows` rows each that `stacked` was put together from."""
    return [stacked[i : i + rows] for i in range(0, len(stacked), rows)]


def log_abs_det(jacobians, noise, eps):
    """Return (log|det J|, its error, condition number) for each sample of (batch, n, n), noise of the same shape.

    The error of log|det J| under dJ is tr(J^-1 dJ) to first order. Where it is infinite, since J may be singular
    for all that rounding leaves to see, an upper bound of log|det J| comes in its place: no singular value moves by
    more than the norm of dJ, and no volume is larger than that of a box as long as the rows. A row of zeros means a
    slope that rounding hides, as where a tanh is flat: of at most one unit.
    """
    with np.errstate(all="ignore"):
        found = [_log_abs_det(*pair, eps) for pair in zip(jacobians, noise, strict=True)]
    return tuple(np.array(column) for column in zip(*found, strict=True))


def _log_abs_det(matrix, wobble, eps):
    if not np.isfinite(matrix).all():
        return np.nan, np.inf, np.inf
    size = np.abs(matrix).max(axis=1, keepdims=True)
    flat = size == 0
    size = np.where(flat, eps, size)
    scaled = matrix / size  # rows of one size: an exponential's may differ by hundreds of decades
    moves = eps * np.abs(scaled) + wobble / size
    singular = np.linalg.svd(scaled, compute_uv=False)
    condition = singular[0] / singular[-1] if singular[-1] else np.inf
    rows = np.sum(np.log(size))
    try:
        error = np.sum(np.abs(np.linalg.inv(scaled).T) * moves)
    except np.linalg.LinAlgError:
        error = np.inf
    if not flat.any() and np.isfinite(error):
        return np.sum(np.log(singular)) + rows, error, condition
    moves = np.where(flat, np.eye(len(matrix)), ROUNDINGS * moves)
    by_volume = np.sum(np.log(singular + np.linalg.norm(moves)))
    by_rows = np.sum(np.log(np.linalg.norm(scaled, axis=1) + np.linalg.norm(moves, axis=1)))  # Hadamard
    return min(by_volume, by_rows) + rows, np.inf, condition


def smallest(eps):
    """Return the smallest number that a type of rounding unit `eps` holds in full; XLA makes 0 of what is smaller."""
    return float(np.finfo(_kind(eps)).tiny)


def large(eps):
    """Return the size from which a product of two numbers overflows a type of rounding unit `eps`.

    Gradients are made of such products; and where answers are as large, a rounding error is too large for a
    measurement nearby to tell what it does.
    """
    return float(np.sqrt(np.finfo(_kind(eps)).max))


def _kind(eps):
    return {2.0**-52: "float64", 2.0**-10: "float16"}.get(eps, "float32")  # a bfloat16 has a float32's range
