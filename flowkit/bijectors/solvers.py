"""Explicit Runge-Kutta methods: tableaus as data, one function for a step, grids of fixed and of adaptive steps."""

import functools
import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from flowkit.contract import sum_event
from flowkit.engines import engine
from flowkit.numerics import maximum, mean, minimum

Rate = Callable[[Any, Any], tuple[Any, Any]]
"""(x, t) -> (dx/dt, the integrands): t is (batch,), the integrands are (batch, k)."""


class Tableau(NamedTuple):
    """A Butcher tableau: stage i is at `nodes[i]`, reached by `rows[i]` of the slopes before it.

    `weights` add up the slopes to a step of error h^(order + 1); `errors` add them up to an estimate of that error,
    with the slope at the end as the last one.
    """

    order: int
    nodes: tuple[float, ...]
    rows: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]
    errors: tuple[float, ...] | None = None


TABLEAUS = {
    "euler": Tableau(1, (0.0,), ((),), (1.0,)),
    "midpoint": Tableau(2, (0.0, 1 / 2), ((), (1 / 2,)), (0.0, 1.0)),
    "rk4": Tableau(
        4,
        (0.0, 1 / 2, 1 / 2, 1.0),
        ((), (1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0)),
        (1 / 6, 1 / 3, 1 / 3, 1 / 6),
    ),
    "dopri5": Tableau(
        5,
        (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0),
        (
            (),
            (1 / 5,),
            (3 / 40, 9 / 40),
            (44 / 45, -56 / 15, 32 / 9),
            (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
            (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
        ),
        (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
        (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40),
    ),
}
"""By name. "dopri5": Dormand & Prince, A Family of Embedded Runge-Kutta Formulae (1980)."""

ADAPTIVE = tuple(name for name, tableau in TABLEAUS.items() if tableau.errors)
FIRST, SAFETY, SHRINK, GROW = 0.1, 0.9, 0.2, 5.0
"""The first step, as a part of the way, and how the next follows from the error of one."""
SHORTEST = 1e-6
"""The part of the way that a step must not become shorter than: the field is then stiff, or not finite."""


@dataclass(frozen=True)
class Solver:
    """A method and its steps: `steps` of one length, or at most `max_steps` to the tolerances if it is adaptive."""

    name: str
    steps: int
    rtol: float
    atol: float
    max_steps: int

    @property
    def tableau(self) -> Tableau:
        """Return the method."""
        return TABLEAUS[self.name]

    @property
    def adaptive(self) -> bool:
        """Return True if the lengths of the steps follow from their errors."""
        return self.name in ADAPTIVE

    @property
    def most(self) -> int:
        """Return the largest number of steps."""
        return self.max_steps if self.adaptive else self.steps

    def finer(self) -> "Solver":
        """Return the solver with twice as many steps, about, and errors 2^order times smaller."""
        share = 2.0**-self.tableau.order
        return replace(
            self,
            steps=2 * self.steps,
            rtol=share * self.rtol,
            atol=share * self.atol,
            max_steps=4 * self.max_steps,
        )


def spread(numbers: Any, x: Any) -> Any:
    """Return one number for each sample, (batch,), as (batch, 1, ..., 1) for the shape of `x`."""
    return ops.reshape(numbers, (-1, *(1,) * (len(x.shape) - 1)))


def zeros_for(x: Any) -> Any:
    """Return a zero for each sample, (batch,)."""
    return ops.zeros_like(sum_event(x))


def step(
    tableau: Tableau, rate: Rate, x: Any, start: Any, length: Any, first: Any = None
) -> tuple[Any, Any, list[tuple[Any, Any]]]:
    """Return (x after the step, the integrals over it, the rates of all stages).

    `start` and `length` are (batch,), or (1,) for a step that all samples share. `first` is the rate at the start if it
    is known.
    """
    each = zeros_for(x)
    rates = [] if first is None else [first]
    for node, row in list(zip(tableau.nodes, tableau.rows, strict=True))[len(rates) :]:
        at = x + spread(length, x) * _combined(row, rates, 0) if row else x
        rates.append(rate(at, start + node * length + each))
    moved = x + spread(length, x) * _combined(tableau.weights, rates, 0)
    return moved, length[:, None] * _combined(tableau.weights, rates, 1), rates


def _combined(weights, rates, which):
    """Return the weighted sum of the slopes (0) or the integrands (1) of the rates."""
    parts = (weight * both[which] for weight, both in zip(weights, rates, strict=False) if weight)
    return functools.reduce(operator.add, parts)


def even_grid(begin: float, end: float, steps: int, like: Any) -> tuple[Any, Any]:
    """Return (starts, lengths) of steps of one length, (steps, 1) each; lengths are negative if time runs backwards."""
    return engine.constant(_starts, begin, end, steps, like=like), engine.constant(
        _lengths, begin, end, steps, like=like
    )


def _starts(begin, end, steps):
    return begin + (end - begin) * np.arange(steps)[:, None] / steps


def _lengths(begin, end, steps):
    return np.full((steps, 1), (end - begin) / steps)


class Adapted(NamedTuple):
    """The result of adaptive steps: x at the end, the integrals, the grid (max_steps, batch) and how far each row came.

    Rows have steps of their own, so that none depends on the others. A rejected step, and those after a row's end, have
    length 0.
    """

    x: Any
    integrals: Any
    starts: Any
    lengths: Any
    progress: Any
    attempts: Any


def adapt_steps(solver: Solver, rate: Rate, x: Any, begin: float, end: float) -> Adapted:
    """Solve with steps whose error, by the mean square over the entries of x, is atol + rtol |x|; without gradients."""
    tableau, whole = solver.tableau, end - begin
    zero = zeros_for(x)
    first = rate(x, begin + zero)
    grid = ops.zeros_like(zero)[None] + engine.constant(np.zeros, (solver.most, 1), like=x)
    state = (x, 0 * first[1], first, zero, FIRST + zero, grid, grid, ops.convert_to_tensor(0, "int32"))

    def attempt(state):
        x, total, first, progress, ahead, starts, lengths, number = state
        share = minimum(ahead, 1 - progress)
        start, length = begin + whole * progress, whole * share
        moved, more, rates = step(tableau, rate, x, start, length, first)
        last = rate(moved, start + length)
        error = spread(length, x) * _combined(tableau.errors, [*rates, last], 0)
        size = solver.atol + solver.rtol * maximum(ops.abs(x), ops.abs(moved))
        axes = tuple(range(1, len(x.shape)))
        ratio = ops.sqrt(mean(ops.square(error / size), axis=axes) + 1e-20)
        good = ops.logical_and(ratio <= 1, progress < 1)  # NaN is not good
        factor = ops.where(ratio > 0, SAFETY * ops.power(ratio, -1 / tableau.order), SHRINK)
        # What is left of the way may be shorter than the step before it would have allowed.
        ahead = ops.where(progress < 1, share * minimum(maximum(factor, SHRINK), GROW), ahead)
        arrives = ops.where(share >= 1 - progress, 1 + zero, progress + share)

        def kept(new, old):
            return ops.where(spread(good, new), new, old)

        return (
            kept(moved, x),
            kept(total + more, total),
            (kept(last[0], first[0]), kept(last[1], first[1])),
            ops.where(good, arrives, progress),
            ahead,
            _written(starts, number, start),
            _written(lengths, number, ops.where(good, length, zero)),
            number + 1,
        )

    def alive(state):
        return ops.any(ops.logical_and(state[3] < 1, state[4] > SHORTEST))

    x, total, _, progress, _, starts, lengths, number = engine.iterate(attempt, solver.most, state, alive)
    return Adapted(x, total, starts, lengths, progress, number)


def _written(grid, number, row):
    return ops.slice_update(grid, (number, 0 * number), row[None])
