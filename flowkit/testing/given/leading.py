"""Which direction's log-det is held against its Jacobian, and which points come back."""

from typing import NamedTuple


class Leading(NamedTuple):
    """A direction whose output depends on as many numbers as it has: on its input, and on its noise if `joint`."""

    inverse: bool
    joint: bool


def leading(subject):
    """The `Leading` direction of a layer, or why there is none.

    Of a surjection the one that draws: its log-det is log|det d output / d (input, noise)| less the log-density of the
    noise. Of a bijector forward, unless that is solved, or not there, and the inverse is not.
    """
    spec = subject.spec
    if any(subject.forgets(inverse=inverse) for inverse in (False, True)):
        if spec.noise == "both":
            return "both directions draw"
        return Leading(spec.noise == "inverse", joint=True)
    if spec.likelihood == "bound":
        return "the spec promises a bound alone"
    solved = spec.forward in ("iterative", "none") and spec.inverse in ("analytic", "sequential")
    return Leading(solved and subject.no_inverse is None, joint=False)


def tied(subject):
    """The direction after which the other's log-det must be minus its own, or why there is none."""
    found = leading(subject)
    if isinstance(found, str):
        return found
    return found.inverse if found.joint else True


def recovering(subject):
    """The direction after which the other gives back the point that it came from; None if both forget something."""
    return next((inverse for inverse in (False, True) if not subject.forgets(inverse=inverse)), None)
