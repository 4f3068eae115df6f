"""What is refreshed in training, and when."""

import numpy as np

from flowkit.testing.clauses.clause import clause
from flowkit.testing.given.refreshed import STEPS, refresh
from flowkit.testing.verdicts.broken import Broken


@clause(
    "refresh",
    "refresh changes weights that are not trained, and no others, and leaves them finite",
    hint="Assign in _refresh to weights made with trainable=False; what is trained is the optimizer's.",
    per="once",
    applies=lambda subject: None if subject.layer(subject.events[0]).refreshes else "nothing is refreshed",
)
def refresh_alone(trial):
    layer = trial.subject.twin(trial.example)
    trained = {id(v) for v in layer.trainable_variables}
    before, changed = [v.numpy() for v in layer.variables], False
    for _ in range(STEPS):
        refresh(trial.subject, layer, trial.event)
        for old, variable in zip(before, layer.variables, strict=True):
            new = variable.numpy()
            same = np.array_equal(old, new)
            if id(variable) in trained and not same:
                gap = np.max(np.abs(1.0 * new - old))
                raise Broken(
                    f"refresh to leave the trained weight '{variable.path}' as it was",
                    f"a change of {gap:.3g}",
                )
            if new.dtype.kind == "f" and not np.isfinite(new).all():
                raise Broken(
                    f"finite numbers in weight '{variable.path}' after refresh", f"{new.ravel()[:4]}"
                )
            changed |= not same
    if not changed:
        built = trial.subject.built(trial.event)
        start = [v.numpy() for v in built.variables]
        refresh(trial.subject, built, trial.event)
        changed = any(not np.array_equal(a, v.numpy()) for a, v in zip(start, built.variables, strict=True))
    if not changed:
        raise Broken("refresh to change a weight", "none that changes")
