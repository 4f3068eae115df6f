"""Which operation answers in less than the float64 that it was given, and at which line of the author's code."""

import linecache
import os
import re

from flowkit import numerics
from flowkit.testing.verdicts.broken import Broken
from flowkit.testing.verdicts.traced import is_own

_MIXED = re.compile(r"\bfloat\b.*\bdouble\b|\bdouble\b.*\bfloat\b", re.IGNORECASE | re.DOTALL)
_OPERATION = re.compile(r"[/\\]keras[/\\]src[/\\]ops[/\\](?!operation\.py)")


def told(steps):
    """{what an operation is called, with its place: the type that it answers in}, for the steps of `lowest_float`."""
    return {f"`{_called(stack)}`, {_place(stack)}": kind for kind, stack in steps if _own(stack)}


def notes(found):
    """What a report says of the operations that `told` tells."""
    return [f"judged in {kind}: {what}{_instead(what)}" for what, kind in found.items()]


def mixed(error, steps):
    """The broken promise behind an error of an engine that cannot mix two types; None for any other error."""
    found = told(steps)
    if not found or not _MIXED.search(str(error)):
        return None
    what, kind = next(iter(found.items()))
    return Broken(
        "answers in float64 from what is given in float64, in which the checker judges",
        f"{kind} from {what}, which the engine does not mix with float64",
        hint=_instead(what).strip(" ()") or "Cast it back to the type of its input.",
    )


def narrowed(lowest, declared, steps):
    """The broken promise of a layer that computes in type `lowest`, less precise than the `declared` one."""
    places = [what for what, kind in told(steps).items() if kind == lowest]
    what = f"{lowest} from {places[0]}" if places else lowest
    hint = (
        "Do not cast below the layer's compute_dtype: only a part with a dtype of its own, such as a network under a "
        "mixed policy, may compute in less."
    )
    if places and (keeps := _instead(places[0])):
        hint = f"{keeps.strip(' ()')}."
    return Broken(
        f"both directions to compute in {declared}, as the layer's dtype says, or better",
        what,
        hint=hint,
        cause=f"it computes in {what}",
    )


def _instead(what):
    name = re.match(r"`ops\.(\w+)`", what)
    name = name and name[1]
    return f" (flowkit.numerics.{name} keeps float64)" if name in numerics.__all__ else ""


def _own(stack):
    """The index of the innermost frame of the author's, and one more; 0 if there is none."""
    return max((i + 1 for i, (file, _, _) in enumerate(stack) if is_own(file)), default=0)


def _called(stack):
    """The operation that the author's line calls: by its name in `keras.ops`, or as it is written."""
    for file, _, function in stack[_own(stack) :]:
        if _OPERATION.search(file):
            return f"ops.{function}"
    file, line, _ = stack[_own(stack) - 1]
    return linecache.getline(file, line).strip()


def _place(stack):
    file, line, _ = stack[_own(stack) - 1]
    return f"{os.path.basename(file)}:{line}"
