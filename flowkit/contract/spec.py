"""What a bijector promises, as data that combinators compose and checkers read."""

import math
from dataclasses import dataclass, replace
from typing import Annotated, Any

from flowkit.contract.arguments import (
    ContextWord,
    checked,
    instance,
    real,
    whole_number,
    whole_numbers,
    words,
)
from flowkit.contract.domain import Domain

_WAYS = ("analytic", "sequential", "iterative", "none")
_CHOICES = {
    "log_det": ("zero", "constant", "varying"),
    "forward": _WAYS,
    "inverse": _WAYS,
    "context": ("none", "optional", "required"),
    "noise": ("none", "forward", "inverse", "both"),
    "likelihood": ("exact", "estimated", "bound", "estimated bound"),
    "fixed_axes": ("channels", "all"),
}

SOLVED = 16.0  # the error of a solver that declares none, in units of float32's epsilon


def ranks(rank: Any, name: str) -> int | tuple[int, ...]:
    """Return the number of axes of an event, or several that are allowed. Raises ValueError for anything else."""
    name += ", the number of axes"
    several = isinstance(rank, tuple | list) and rank
    return tuple(whole_numbers(rank, name)) if several else whole_number(rank, name, least=0)


domain_of = instance(Domain, "a Domain, such as Domain.POSITIVE", ValueError)
Allowed = Annotated[float, real(0, math.inf, "None or a finite number from 0 up")]


@dataclass(frozen=True)
class BijectorSpec:
    """The promises of a bijector.

    - `event_rank`: how many axes an event has (an int, or a tuple of those allowed; None: any from 1 up).
    - `event_multiple`: each axis of the event must be a multiple of its entry, e.g. (2, 2, 1).
    - `domain`, `codomain`: the sets that the forward direction maps from and onto.
    - `log_det`: "zero" (volume preserving), "constant" (does not depend on x) or "varying".
    - `forward`, `inverse`: "analytic", "sequential" (exact, in one pass for each entry), "iterative" (solved to a
      tolerance) or "none" (there is no such direction).
    - `context`: "none" (ignored), "optional" or "required".
    - `round_trip`: the error allowed to inverse(forward(x)), in units of the dtype's epsilon and
      of max(1, |x|); None is the checker's rule. `Chain` adds up those of its parts.
    - `log_det_error`: the error allowed to the log-det, in the same units; None is the checker's rule.
    - `solver_gradients`: gradients pass through what is solved.
    - `noise`: which direction is given random numbers: "none", "forward", "inverse" or "both".
    - `likelihood`: forward's log_det is "exact", "estimated" (its mean over the noise is exact), a "bound" (that of its
      exponential is, so its own mean is less), or an "estimated bound", of parts of both kinds.
    - `inverse_likelihood`: the same of the way back. None is "exact" if that draws nothing, `likelihood` if both
      directions draw, and a "bound" if it alone draws, as for a surjection.
    - `fixed_axes`: which axes of an event the weights are made for, "channels" (the last) or "all".
    - `bounded`: either direction magnifies rounding by a bounded factor at most, whatever x and the context; so does
      one whose log-det does not vary. `Flow` then need not look whether samples come back.
    - `rearranges`: entries change places, not values, so that `Chain` lets any domain through that is a condition on
      each entry alone; `domain` and `codomain` stay REAL.

    Raises ValueError for a word that is not one of these, and for a direction that draws and promises "exact".

    >>> BijectorSpec(codomain=Domain.POSITIVE).log_det
    'varying'
    """

    event_rank: Annotated[int | tuple[int, ...], ranks] | None = None
    event_multiple: tuple[int, ...] | None = None
    domain: Annotated[Domain, domain_of] = Domain.REAL
    codomain: Annotated[Domain, domain_of] = Domain.REAL
    log_det: Annotated[str, words(*_CHOICES["log_det"])] = "varying"
    inverse: Annotated[str, words(*_CHOICES["inverse"])] = "analytic"
    context: ContextWord = "none"
    round_trip: Allowed | None = None
    rearranges: bool = False
    forward: Annotated[str, words(*_CHOICES["forward"])] = "analytic"
    log_det_error: Allowed | None = None
    solver_gradients: bool = True
    noise: Annotated[str, words(*_CHOICES["noise"])] = "none"
    likelihood: Annotated[str, words(*_CHOICES["likelihood"])] = "exact"
    fixed_axes: Annotated[str, words(*_CHOICES["fixed_axes"])] = "channels"
    inverse_likelihood: Annotated[str, words(*_CHOICES["likelihood"])] | None = None
    bounded: bool = False

    def __post_init__(self):
        for inverse, field in ((False, "likelihood"), (True, "inverse_likelihood")):
            word, draws = self.likelihood_of(inverse=inverse), self.draws(inverse=inverse)
            if (word == "exact") == draws:
                wanted = "'estimated' or 'bound', since that direction draws" if draws else "'exact'"
                raise ValueError(f"BijectorSpec's {field}: got {word!r}, expected {wanted}.")

    @property
    def solved(self) -> bool:
        """Return True if a direction is solved to a tolerance, which does not depend on the precision it runs in."""
        return "iterative" in (self.forward, self.inverse)

    @property
    def allowed_round_trip(self) -> float:
        """Return `round_trip`; if that is None, SOLVED if a direction is solved to a tolerance, and 0 otherwise."""
        return self._allowed(self.round_trip)

    @property
    def allowed_log_det_error(self) -> float:
        """Return `log_det_error`; if that is None, SOLVED if a direction is solved to a tolerance, and 0 otherwise."""
        return self._allowed(self.log_det_error)

    def _allowed(self, declared):
        return declared if declared is not None else SOLVED if self.solved else 0.0

    def draws(self, *, inverse: bool) -> bool:
        """Return True if that direction is given random numbers."""
        return self.noise in ("both", "inverse" if inverse else "forward")

    def likelihood_of(self, *, inverse: bool) -> str:
        """Return what the log-det of that direction is: "exact", "estimated", "bound" or "estimated bound"."""
        if not inverse:
            return self.likelihood
        if self.inverse_likelihood is not None:
            return self.inverse_likelihood
        return _usual_way_back(self.noise, self.likelihood)

    def inverted(self) -> "BijectorSpec":
        """Return the spec of the same map read backwards; what its event shapes must be is then unknown."""
        return replace(
            self,
            forward=self.inverse,
            inverse=self.forward,
            domain=self.codomain,
            codomain=self.domain,
            event_rank=None,
            event_multiple=None,
            noise={"forward": "inverse", "inverse": "forward"}.get(self.noise, self.noise),
            likelihood=self.likelihood_of(inverse=True),
            inverse_likelihood=self.likelihood,
        )


BijectorSpec.__init__ = checked(BijectorSpec.__init__)  # type: ignore[method-assign]


def composed(specs):
    """Return the joint promises of maps one after another, as keywords of a spec: all but shapes and domains.

    >>> composed([BijectorSpec(noise="forward", likelihood="bound"), BijectorSpec(noise="inverse")])["noise"]
    'both'
    """
    weakest_of = ("log_det", "forward", "inverse", "context", "fixed_axes")
    directions = [
        name for name in ("forward", "inverse") if any(s.draws(inverse=name == "inverse") for s in specs)
    ]
    noise = "both" if len(directions) == 2 else (directions or ["none"])[0]
    likelihood = _together(spec.likelihood for spec in specs)
    back = _together(spec.likelihood_of(inverse=True) for spec in specs)
    varying = [spec for spec in specs if spec.log_det == "varying"]
    return {
        **{field: weakest(specs, field) for field in weakest_of},
        "round_trip": _added(specs, "round_trip"),
        "log_det_error": _added(specs, "log_det_error"),
        "solver_gradients": all(spec.solver_gradients for spec in specs),
        "bounded": bool(varying) and all(spec.bounded for spec in varying),
        "noise": noise,
        "likelihood": likelihood,
        "inverse_likelihood": None if back == _usual_way_back(noise, likelihood) else back,
    }


def _usual_way_back(noise, likelihood):
    """Return the default likelihood word of the inverse direction."""
    return {"both": likelihood, "inverse": "bound"}.get(noise, "exact")


def _together(likelihoods):
    """Return the likelihood word of a sum of log-dets.

    One word alone would let estimates pass for bounds, whose draws are averaged otherwise.
    """
    kinds = {word for likelihood in likelihoods for word in likelihood.split()} - {"exact"}
    return " ".join(word for word in ("estimated", "bound") if word in kinds) or "exact"


def _added(specs, field):
    """Return the sum of what the specs allow of an error, or None for the checker's rule alone."""
    declared = any(spec.solved or getattr(spec, field) is not None for spec in specs)
    return sum(getattr(spec, f"allowed_{field}") for spec in specs) if declared else None


def weakest(specs, field):
    """Return the weakest promise among `specs` for a field with words, such as `log_det`: what they keep together."""
    words = _CHOICES[field]
    return max((getattr(spec, field) for spec in specs), key=words.index, default=words[0])
