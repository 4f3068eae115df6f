"""What a bijector promises, as data that combinators compose and checkers read."""

from dataclasses import dataclass, fields

from flowkit.contract.domain import Domain

_WAYS = ("analytic", "sequential", "iterative")
_CHOICES = {
    "log_det": ("zero", "constant", "varying"),
    "forward": _WAYS,
    "inverse": _WAYS,
    "context": ("none", "optional", "required"),
}

SOLVED = 16.0  # the round-trip error of a solver that declares none, in units of float32's epsilon


@dataclass(frozen=True)
class BijectorSpec:
    """The promises of a bijector.

    - `event_rank`: how many axes an event has (an int, or a tuple of those allowed; None: any from 1 up).
    - `event_multiple`: each axis of the event must be a multiple of its entry, e.g. (2, 2, 1).
    - `domain`, `codomain`: the sets that the forward direction maps from and onto.
    - `log_det`: "zero" (volume preserving), "constant" (does not depend on x) or "varying".
    - `forward`, `inverse`: "analytic", "sequential" (exact, in one pass for each entry) or "iterative" (solved to a
      tolerance).
    - `context`: "none" (ignored), "optional" or "required".
    - `round_trip`: the error allowed to inverse(forward(x)), in units of the dtype's epsilon and
      of max(1, |x|); None is the checker's rule. `Chain` adds up those of its parts.
    - `rearranges`: entries change places, not values, so that `Chain` lets any domain through that asks
      something of each entry alone; `domain` and `codomain` stay REAL.

    Raises ValueError for a word that is not one of these.

    >>> BijectorSpec(codomain=Domain.POSITIVE).log_det
    'varying'
    """

    event_rank: int | tuple[int, ...] | None = None
    event_multiple: tuple[int, ...] | None = None
    domain: Domain = Domain.REAL
    codomain: Domain = Domain.REAL
    log_det: str = "varying"
    inverse: str = "analytic"
    context: str = "none"
    round_trip: float | None = None
    rearranges: bool = False
    forward: str = "analytic"

    def __post_init__(self):
        for field, words in _CHOICES.items():
            if getattr(self, field) not in words:
                raise ValueError(
                    f"BijectorSpec.{field} expects one of {', '.join(map(repr, words))}, "
                    f"received {getattr(self, field)!r}."
                )

    @property
    def solved(self):
        """Whether a direction is solved to a tolerance, which does not become finer with the precision it runs in."""
        return "iterative" in (self.forward, self.inverse)

    @property
    def allowed_round_trip(self):
        """`round_trip`; if that is None, SOLVED for a direction that is solved to a tolerance, and 0 otherwise."""
        if self.round_trip is not None:
            return self.round_trip
        return SOLVED if self.solved else 0.0

    def inverted(self):
        """The spec of the same map read backwards; what its event shapes must be is then unknown."""
        changed = {
            "forward": self.inverse,
            "inverse": self.forward,
            "domain": self.codomain,
            "codomain": self.domain,
            "event_rank": None,
            "event_multiple": None,
        }
        return BijectorSpec(**{f.name: getattr(self, f.name) for f in fields(self)} | changed)


def added_round_trips(specs):
    """The `round_trip` of maps one after another: the sum of what they allow, or None for the checker's rule alone."""
    declared = any(spec.solved or spec.round_trip is not None for spec in specs)
    return sum(spec.allowed_round_trip for spec in specs) if declared else None


def weakest(specs, field):
    """The weakest promise among `specs` for a field that has words, such as `log_det`: what they keep together."""
    words = _CHOICES[field]
    return max((getattr(spec, field) for spec in specs), key=words.index, default=words[0])
