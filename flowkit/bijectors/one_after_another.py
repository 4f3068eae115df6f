"""The inverse of an autoregressive map: x of z, if each entry of x needs those before it."""

import numpy as np
from keras import ops

from flowkit.engines import engine


def find_in_turn(z, transform, state, answer):
    """Return (x, log dx/dz) of `z` (batch, entries), whose conditioner answers in turn: it gave `state` and `answer`.

    `answer(k, x, state)` gives (parameters, batch) for entry k and the next state; `x` is (entries, batch), of which
    the first k are known and the others zeros. To the transform the batch is one of channels. The logarithms are summed
    up: (batch, 1). Of a `z` (batch, places, channels) the places are the entries, and an answer is
    (batch, parameters, channels).
    """
    size = z.shape[1]
    entries = engine.Rows(range(1, size + 1))
    z = ops.swapaxes(z, 0, 1)
    given = entries.cut(z)

    def one_more(loop):
        k, x, log_slopes, state = loop
        h, state = answer(k, x, state)
        found, log_slope = transform.inverse(entries.at(given, k), *transform.prepare(h[None]))
        return k + 1, entries.written(x, k, found), log_slopes + log_slope, state

    start = 0, ops.zeros_like(z), ops.zeros_like(z[:1]), state
    _, x, log_slopes, _ = engine.iterate(one_more, size, start)
    return ops.swapaxes(x, 0, 1), ops.swapaxes(log_slopes, 0, 1)


def find_in_passes(found, z):
    """Return (x, log dx/dz) of `z`, `found(x)` the same of conditioners that are given x: in as many passes as entries.

    After k passes the first k entries are right, and their gradients are. The others wait as zeros: what they would be
    otherwise may be without bound, and masked weights times infinity are NaN.
    """
    size, places = z.shape[1], _numbers(z)

    def one_more(state):
        x, known = state
        return ops.where(places <= known, found(x)[0], ops.zeros_like(x)), known + 1

    x, _ = engine.iterate(one_more, size - 1, (ops.zeros_like(z), ops.zeros_like(places[0])))
    return found(x)


def _numbers(z):
    """Return the number of each entry of `z`, from 0: of its axis 1, broadcast over the others."""
    numbers = engine.constant(np.arange, z.shape[1], like=z)
    return ops.reshape(numbers, (-1, *(1,) * (len(z.shape) - 2)))


def find_fixed_point(found, z):
    """Return the same in as few passes as needed until nothing changes. It has no gradients.

    A pass starts from all entries that the last one found, and few are needed if entries hear little of most others.
    As after k passes the first k are right whatever the others were, it ends, with what `find_in_passes` gives. A row
    whose entries to come grow so much that they spoil one that is due (infinity times a masked weight is NaN) goes back
    by a pass, and from then on they wait as zeros.
    """
    size, places, axes = z.shape[1], _numbers(z), tuple(range(1, len(z.shape)))
    zeros = ops.zeros_like(z)

    def one_more(state):
        x, _, _, known, waits, _ = state
        y, log_slope = found(x)
        log_slope = log_slope + zeros  # a transform may answer 0.0
        finite = ops.isfinite(y)
        due = places <= known
        spoiled = ops.any(ops.logical_and(due, ops.logical_not(finite)), axis=axes, keepdims=True)
        back = ops.logical_and(spoiled, ops.logical_not(waits))
        waits = ops.logical_or(waits, spoiled)
        free = ops.logical_and(finite, ops.logical_not(waits))
        kept = ops.logical_or(free, due)
        new = ops.where(back, ops.where(places < known, x, zeros), ops.where(kept, y, zeros))
        known = ops.where(back, known, known + 1)
        moved = ops.logical_or(ops.any(new != x, axis=axes, keepdims=True), waits)
        return new, y, log_slope, known, waits, ops.logical_and(moved, known < size)

    def alive(state):
        return ops.any(state[-1])

    column = ops.sum(zeros, axis=axes, keepdims=True)
    start = zeros, zeros, zeros, column, column > 0, column == 0
    _, y, log_slope, *_ = engine.iterate(one_more, size + 1, start, alive=alive)
    return y, log_slope
