"""A clause, and what it finds: a broken promise, or an example that cannot be judged."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from flowkit.contract import ContractError

LEAST = 2.0**-23
"""The rounding unit of float32, in which most layers work."""

SIDES = "forward", "inverse"
"""The names of the directions, by the value of `inverse`."""


@dataclass(frozen=True)
class Clause:
    """`check(trial)` raises `Broken`; `per` says for what it is called: each "example", each "event", or "once".

    `needs` lists the directions, by the value of `inverse`, without which the clause is not asked.
    """

    name: str
    hint: str
    per: str
    check: Callable
    needs: tuple[bool, ...]


def clause(name, *, per="example", needs=()):
    """Make a function of a trial the `Clause` of that name; its docstring states the promise and ends with a hint."""

    def made(check):
        _, _, hint = (inspect.getdoc(check) or "").partition("Hint: ")
        return Clause(name, " ".join(hint.split()), per, check, needs)

    return made


class Broken(Exception):
    """A promise does not hold: what was expected and received, and by how much if that is a number.

    `size`, at least 1, is that of the numbers that differ. Clauses that fail for the same `cause` report it once.
    """

    def __init__(
        self, expected, received, *, measured=None, allowed=None, sample=None, hint=None, size=1.0, cause=None
    ):
        super().__init__(expected, received)
        self.expected, self.received = expected, received
        self.measured, self.allowed, self.sample, self.hint = measured, allowed, sample, hint
        self.size, self.cause = size, cause

    def __str__(self):
        return f"expected {self.expected}, received {self.received}"

    def negligible(self, unit):
        """Return True if the error is below one rounding of a number of that size, in precision `unit`."""
        return self.measured is not None and self.measured < unit * self.size


class Undecided(Exception):
    """Nothing of this example could be judged; the message says why."""


class Imprecise(Undecided):
    """Nothing of this example could be judged, for lack of precision."""


class NotAsked(Undecided):
    """The promise is none of this layer's; the message says why."""


def verdict(name, layer, check, hint=None):
    """Return "kept" if `check()` passes, or why nothing could be judged; raise ContractError if it finds `Broken`."""
    try:
        check()
    except Undecided as reason:
        return str(reason) or "no digit can be told from rounding"
    except Broken as found:
        parts = {"expected": found.expected, "received": found.received, "hint": found.hint or hint}
        raise ContractError(name, layer, **parts) from found
    return "kept"


def ask_unless(holds, reason):
    """Raise `NotAsked` if the reason why a promise is none of a layer's holds."""
    if holds:
        raise NotAsked(reason)


def require(holds, expected, received, **details):
    """Raise `Broken` unless the promise holds."""
    if not holds:
        raise Broken(expected, received, **details)


def judge(expected, received, allowed, *, what, where=None, among=None, gap=None):
    """Raise `Broken` for the worst entry of |expected - received| > allowed, `Imprecise` if none can be judged.

    An entry whose allowed error reaches a sixteenth of its size has no digits left to judge. `among` (batch,) selects
    the samples that count; `where` holds the inputs, for the message.
    """
    with np.errstate(all="ignore"):
        gap = np.abs(expected - received) if gap is None else gap
        size = np.abs(np.where(np.isfinite(expected), expected, np.nan_to_num(received, posinf=0, neginf=0)))
        size = np.maximum(1, size)
        decided = allowed <= size / 16
        if among is not None:
            decided &= among.reshape(-1, *(1,) * (decided.ndim - 1))
        broken = decided & ~(gap <= allowed)
        if not decided.any():
            raise Imprecise
        if not broken.any():
            return
        # An error that most layers can show goes before one they cannot.
        ratio = np.nan_to_num(gap / np.maximum(allowed, LEAST * size), nan=np.inf, posinf=np.inf)
        worst = np.unravel_index(np.argmax(np.where(broken, ratio, -1)), ratio.shape)
    place = "" if len(worst) == 1 else f"[{', '.join(map(str, worst[1:]))}]"
    at = "" if where is None else f" at {point(where[worst[0]])}"
    raise Broken(
        f"{what}{place} = {expected[worst]:.6g}",
        f"{received[worst]:.6g}{at}",
        measured=float(gap[worst]),
        allowed=float(allowed[worst]),
        sample=int(worst[0]),
        size=float(np.broadcast_to(size, gap.shape)[worst]),
        hint=known_slip(expected[worst], received[worst], None if where is None else where[0].shape),
    )


def unlike(expected, received, where):
    """Return a text: how far two answers that should be the same are apart, and at which of the inputs `where`."""
    if expected.shape != received.shape:
        return f"shape {received.shape} in place of {expected.shape}"
    with np.errstate(invalid="ignore"):
        gap = np.abs(expected.astype("float64") - received)
    nan = np.isnan(expected) != np.isnan(received)
    gap = np.where(nan, np.inf, np.nan_to_num(gap, nan=0.0, posinf=np.inf))
    row = int(np.argmax(gap.reshape(len(gap), -1).max(axis=1)))
    return f"a difference of {gap[row].max():.3g} at {point(where[row])}"


def require_unchanged(before, variables, what):
    """Raise `Broken` unless the variables have the values `before`, bit for bit; `what` holds {} for one of them."""
    for old, variable in zip(before, variables, strict=True):
        new = variable.numpy()
        if not np.array_equal(old, new):
            gap = np.max(np.abs(1.0 * new - old))
            raise Broken(what.format(f"weight '{variable.path}'"), f"a change of {gap:.3g}")


def in_all_entries(good):
    """Return for each sample if `good`, bools of (batch, *event), holds in all of its entries."""
    return good.reshape(len(good), -1).all(axis=1)


def point(row):
    """Return an event as short text."""
    text = np.array2string(np.asarray(row), precision=6, separator=", ", threshold=24, floatmode="maxprec")
    return " ".join(text.split())


def known_slip(expected, received, event):
    """Return which usual slip makes `received` of the number `expected`, or None."""
    with np.errstate(all="ignore"):
        # At 0, where failures often end up, exp is 1 by chance.
        if expected and np.isfinite(received) and abs(received - np.exp(expected)) < 1e-6 * received:
            return "This is exp of what is expected: a logarithm is missing."
        too_large, too_small = received / expected, expected / received
    if abs(too_large + 1) < 1e-6:
        return "The sign is the other one."
    for ratio, word in ((too_large, "large"), (too_small, "small")):
        if np.isfinite(ratio) and round(ratio) > 1 and abs(ratio - round(ratio)) < 1e-6 * ratio:
            shape = f", and the event has shape {event}" if event else ""
            return f"It is {round(ratio)} times too {word}{shape}."
    return None
