"""What an error raised by the layer under test says, and where: one line for each cause, whoever met it."""

import os
import re
import sys
import traceback
from dataclasses import dataclass, field

from flowkit.contract import ContractError
from flowkit.testing.verdicts import traced
from flowkit.testing.verdicts.broken import Broken

_LIBRARIES = {"keras", "jax", "jaxlib", "torch", "tensorflow", "numpy", "scipy", "einops", "optree"}
_FLOWKITS = ("flowkit.testing.", "flowkit.contract.", "flowkit.backends.")
_HOOKS = ("_forward", "_inverse", "_adapt", "build", "get_config", "from_config", "__init__")
_LONGEST = 400
_CHECKER = os.path.dirname(os.path.dirname(__file__)) + os.sep  # the files of flowkit.testing


@dataclass(frozen=True)
class Cause:
    """Where an error comes from. Two are the same if one line raised them, whatever the engine made of it."""

    key: str
    kind: str = field(compare=False)
    method: str = field(compare=False)
    place: str = field(compare=False)  # "" if no line of the author's raised it
    line: str = field(compare=False)

    def __str__(self):
        return f"{self.method or 'the layer'} raises {self.kind}" + (
            f" at {self.place}" if self.place else ""
        )


class Raised(Broken):
    """A promise broken by an error: there is no answer to judge."""

    def __init__(self, error):
        cause, hint = cause_of(error), getattr(error, "hint", None)
        if traced.complaint(error):
            at = "" if cause.line else f" at {traced.place(error)}"
            text, hint = f"a stop of the compiler{at}, where {traced.ASKS}", traced.HINT
        elif isinstance(error, ContractError):
            text = f"a ContractError: expected {error.expected}, received {error.received}"
        else:
            text = f"{type(error).__name__}: {said(error)}"
        super().__init__("an answer", text, hint=hint, cause=cause)


def cause_of(error):
    """The `Cause` of an error."""
    error = traced.complaint(error) or error
    frames = traceback.extract_tb(error.__traceback__)
    modules = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    own = [frame for frame, module in zip(frames, modules, strict=True) if is_authors(module)]
    methods = [frame.name for frame in own if frame.name in _HOOKS]
    kind = type(error).__name__
    if own:
        line = f"{_place(own[-1])}, in {own[-1].name}: `{own[-1].line}`"
        return Cause(_place(own[-1]), kind, methods[-1] if methods else "", _place(own[-1]), line)
    if isinstance(error, ContractError):
        return Cause(f"contract: {error.clause}", f"{kind} {error.clause!r}", "", "", "")
    base = [f for f, module in zip(frames, modules, strict=True) if module.startswith("flowkit.contract.")]
    line = ""
    if base and base[-1].name in ("call", "pair", "per_sample"):
        line = "what _forward and _inverse return, which is to be a pair (output, log_det)"
    return Cause(_place((base or frames)[-1]), kind, "", "", line)


def said(error):
    """An error's message as one plain line: without colours, and without what Keras and TensorFlow put around it."""
    # A config tells every one on the way to the fault.
    text = str(error).split("Exception encountered: ")[-1].rstrip()
    if text.startswith("in user code:"):
        text = re.split(r"\n\n(?= *\w+: )", text, maxsplit=1)[-1]  # after the lines of the traceback
    text = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", text).split())
    inner = re.search(r"Exception encountered when calling \S+ (.*) Arguments received by", text)
    text = inner[1] if inner else text
    text = text.removeprefix(f"{type(error).__name__}: ")
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."


def slip_of_the_checker(error):
    """Whether this is a slip of the checker's own, which must not pass for a catch."""
    frames = traceback.extract_tb(error.__traceback__)
    slips = (AttributeError, ImportError, KeyError, NameError, UnboundLocalError)
    return isinstance(error, slips) and frames[-1].filename.startswith(_CHECKER)


def is_authors(module):
    """Whether this is neither the checker, nor a library, nor Python."""
    package = module.partition(".")[0]
    known = package in _LIBRARIES or package in sys.stdlib_module_names
    return bool(module) and not known and not module.startswith(_FLOWKITS)


def _place(frame):
    near = frame.filename.startswith(os.getcwd() + os.sep)
    return f"{os.path.relpath(frame.filename) if near else frame.filename}:{frame.lineno}"
