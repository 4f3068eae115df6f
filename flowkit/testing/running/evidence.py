"""The evidence of a broken promise: what may help, how the point is conditioned, and the line that replays it."""

from flowkit.testing.given.tolerances import log_abs_det
from flowkit.testing.given.trial import Trial
from flowkit.testing.verdicts.cause import Raised, cause_of
from flowkit.testing.verdicts.replay import replay_line
from flowkit.testing.verdicts.report import BrokenPromise


def broken_promise(check, clause, example, found):
    """The error to raise for what a `Check` has `found` of a clause at an example."""
    subject = check.subject
    return BrokenPromise(
        clause.name,
        subject.model,
        expected=found.expected,
        received=found.received,
        hint=_hint(subject, clause, example, found),
        measured=found.measured,
        allowed=found.allowed,
        conditioning=_conditioning(check, example, found.sample),
        config=subject.config_text,
        example=example,
        replay=replay_line(clause.name, example, **check.replay_options),
    )


def _hint(subject, clause, example, found):
    """What may help. For an error, its line; and the clause's hint only if a mere call does not meet it."""
    if not isinstance(found, Raised):
        return found.hint or clause.hint
    hint = (
        found.hint
        or _untold_shape(subject, example)
        or ("" if _plainly_raises(subject, example, found.cause) else clause.hint)
    )
    line = f"It comes from {found.cause.line}." if found.cause.line else ""
    return f"{hint} {line}".strip() or None


def _untold_shape(subject, example):
    """What the layer's author forgot to tell, if forward gives another shape than compute_output_shape says."""
    trial = Trial(subject, example)
    try:
        found = trial.call32(trial.x, trial.context)[0].shape[1:]
        told = trial.latent_event
    except Exception:  # the layer is broken, and how is what the error says
        return ""
    return (
        ""
        if found == told
        else (
            f"forward gives events of shape {found}, and compute_output_shape says {told}: a map that changes "
            "shapes must define compute_output_shape and compute_inverse_shape."
        )
    )


def _plainly_raises(subject, example, cause):
    """Whether a mere call of the layer, in one precision or the other, meets the same error."""
    trial = Trial(subject, example)
    calls = (
        lambda: trial.call32(trial.x, trial.context),
        lambda: trial.call32(trial.z, trial.context, inverse=True),
        lambda: trial.run64(trial.x),
        lambda: trial.run64(trial.z, inverse=True),
    )
    for call in calls:
        try:
            call()
        except Exception as error:  # whatever the author's code raises
            if cause_of(error) == cause:
                return True
    return False


def _conditioning(check, example, sample):
    """The condition number of the Jacobian where the promise broke; None if that cannot be had."""
    if sample is None:
        return None
    try:
        trial = check.trial(example)
        jac, noise = trial.jacobians
        return float(log_abs_det(jac, noise, trial.eps)[2][sample])
    except Exception:  # the layer is broken, so anything may go wrong on the way to a mere detail
        return None
