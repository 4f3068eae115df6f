"""The two directions undo each other."""

from flowkit.testing.clauses.clause import clause
from flowkit.testing.given.declared import answer_error, declared
from flowkit.testing.given.points import difference
from flowkit.testing.given.tolerances import ROUNDINGS, tame
from flowkit.testing.verdicts.broken import judge


@clause(
    "round trip",
    "inverse(forward(x)) is x, for every x of the domain and any noise",
    hint="The inverse undoes another map, or in another order, or stops too early.",
    applies=lambda subject: "forward forgets" if subject.forgets(inverse=False) else None,
    needs_inverse=True,
    needs_forward=True,
)
def from_domain(trial):
    there, back = trial.there, trial.there_and_back
    allowed = ROUNDINGS * (back.value_error + back.value_spread) + declared(trial, trial.x)
    known = trial.resolved(there.value, ROUNDINGS * answer_error(trial, inverse=False), trial.spec.codomain)
    known &= tame(back, trial.x)
    gap = difference(trial.spec.domain, trial.x, back.value)
    judge(trial.x, back.value, allowed, what="x", where=trial.x, among=known, gap=gap)


@clause(
    "inverse round trip",
    "forward(inverse(z)) is z, for every z of the codomain and any noise",
    hint="The codomain may be smaller than declared, or the inverse may answer from memory.",
    applies=lambda subject: "inverse forgets" if subject.forgets(inverse=True) else None,
    needs_inverse=True,
    needs_forward=True,
)
def from_codomain(trial):
    back, there = trial.back, trial.back_and_there
    allowed = ROUNDINGS * (there.value_error + there.value_spread)
    if trial.spec.forward == "iterative":
        allowed = allowed + declared(trial, trial.z)
    known = trial.resolved(back.value, ROUNDINGS * answer_error(trial, inverse=True), trial.spec.domain)
    known &= tame(there, trial.z)
    gap = difference(trial.spec.codomain, trial.z, there.value)
    judge(trial.z, there.value, allowed, what="z", where=trial.z, among=known, gap=gap)
