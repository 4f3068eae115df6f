"""Report what a check found."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from flowkit.contract import ContractError, FlowLayer
from flowkit.testing.causes import Cause


class BrokenPromise(ContractError):
    """A `ContractError` with the evidence: `measured` against `allowed` error, `conditioning`, the example.

    `conditioning` is the condition number of the float64 Jacobian at the point, None if there is none.
    """

    def __init__(
        self,
        clause: str,
        bijector: FlowLayer,
        *,
        expected: object,
        received: object,
        hint: str | None,
        measured: float | None,
        allowed: float | None,
        conditioning: float | None,
        config: Any,
        example: Any,
        replay: str,
    ) -> None:
        super().__init__(clause, bijector, expected=expected, received=received, hint=hint)
        self.measured, self.allowed, self.conditioning = measured, allowed, conditioning
        self.config, self.example, self.replay = config, example, replay
        lines = [self.args[0], f"  config:       {config}"]
        if measured is not None:
            lines.append(f"  error:        {measured:.3g}, allowed {allowed:.3g}")
        if conditioning is not None:
            lines.append(f"  conditioning: {conditioning:.3g}")
        lines.append(f"  replay:       {replay}  # from flowkit.testing import Example")
        self.args = ("\n".join(lines),)

    def set_drawn(self, blob: bytes) -> None:
        """Put Hypothesis's blob of a drawn bijector into the line that replays this."""
        line = self.replay.replace("drawn=b''", f"drawn={blob!r}")
        self.args, self.replay = (self.args[0].replace(self.replay, line),), line


@dataclass
class Result:
    """One clause: "kept", "broken", "waived" or "not asked"; how many examples were judged; the reason.

    `cause` is the error that broke it, if it was one; `seconds` the time it took; `note` a difference that the
    layer's own precision cannot show; `follows` the broken clause of which this one is probably a consequence. A clause
    that is "not asked" and has an `error` is one that a bijector must keep, and that was not verified for lack of
    precision.
    """

    clause: str
    verdict: str
    examples: int = 0
    reason: str = ""
    error: ContractError | None = field(default=None, repr=False)
    cause: Cause | str | None = field(default=None, repr=False)
    seconds: float = field(default=0.0, compare=False)
    note: str = ""
    follows: str = ""


@dataclass
class Report:
    """All clauses of one bijector on one engine. True if nothing is broken or unverified.

    Prints the broken clauses first, and of those that are kept only how many. `notes` say what the verdicts do not:
    that there is no inverse, or what could not be judged in float64. `seconds` is the time of the whole check.

    >>> Report("Exp()", "jax", [Result("round trip", "kept", 20), Result("noise", "not asked", reason="none is drawn")])
    Report(Exp() on jax: 1 kept, 1 not asked)
    """

    bijector: str
    engine: str
    results: list[Result]
    notes: list[str] = field(default_factory=list)
    seconds: float = field(default=0.0, compare=False)

    def __post_init__(self):
        self.notes = [*self.notes, *(f"{r.clause}: {r.note}" for r in self.results if r.note)]

    def __bool__(self):
        return not self.broken and not self.unverified

    def __repr__(self):
        return f"Report({self.bijector} on {self.engine}: {self._counts()})"

    @property
    def broken(self) -> list[Result]:
        """Return the results of the clauses that do not hold."""
        return [result for result in self.results if result.verdict == "broken"]

    @property
    def unverified(self) -> list[Result]:
        """Return the results of round trips and log-dets that no example could judge, for lack of precision."""
        return [result for result in self.results if _word(result) == "NOT VERIFIED"]

    def __getitem__(self, clause):
        return next(result for result in self.results if result.clause == clause)

    def __str__(self):
        rows = []
        for result in sorted(self.broken, key=lambda result: bool(result.follows)):
            hint = None if result.error is None or result.follows else result.error.hint
            rows.append(("broken", result.clause, f"{result.reason}. {hint}" if hint else result.reason))
        others: dict[tuple[str, str], list[str]] = {}  # clauses of one verdict and reason share a line
        for result in self.results:
            if result.verdict in ("waived", "not asked"):
                others.setdefault((_word(result), result.reason), []).append(result.clause)
        order = ["NOT VERIFIED", "waived", "not asked"]
        for verdict, reason in sorted(others, key=lambda pair: order.index(pair[0])):
            rows.append((verdict, ", ".join(others[verdict, reason]), reason))
        lines = [f"{self.bijector} on {self.engine}: {self._counts()}"]
        width = max((len(verdict) for verdict, *_ in rows), default=0)
        lines += [f"  {verdict:<{width}}  {clauses}: {reason}" for verdict, clauses, reason in rows]
        lines += [f"  note: {note}" for note in self.notes]
        slowest = sorted(self.results, key=lambda result: -result.seconds)[:3]
        named = ", ".join(f"{result.clause} {result.seconds:.1f} s" for result in slowest)
        lines.append(f"  took {self.seconds:.1f} s; the slowest: {named}")
        return "\n".join(lines)

    def _counts(self):
        counts = Counter(_word(result) for result in self.results)
        words = "broken", "NOT VERIFIED", "kept", "waived", "not asked"
        return ", ".join(f"{counts[word]} {word}" for word in words if counts[word])

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain data, for JSON."""
        rows = []
        for result in self.results:
            row = {name: getattr(result, name) for name in ("clause", "verdict", "examples", "reason")}
            row["seconds"] = round(result.seconds, 3)
            if result.error is not None:
                row |= {"message": str(result.error), "replay": getattr(result.error, "replay", "")}
            rows.append(row)
        return {
            "bijector": self.bijector,
            "backend": self.engine,
            "kept": bool(self),
            "notes": self.notes,
            "clauses": rows,
        }


def _word(result):
    """Return the verdict on a clause, or "NOT VERIFIED" if a bijector must keep it and no example could be judged."""
    unverified = result.verdict == "not asked" and result.error is not None
    return "NOT VERIFIED" if unverified else result.verdict
