"""Where an error comes from: one line for each cause, whatever clause meets it."""

import linecache
import os
import re
import sysconfig
import traceback
from dataclasses import dataclass, field

from flowkit import contract
from flowkit.contract import ContractError, flow_layer
from flowkit.testing.judging import Broken

ASKS = "Python asks for a tensor's value, which a compiled function does not have"
COMPILE_HINT = (
    "Use ops.where, ops.cond or ops.while_loop in place of a Python `if` or `while` on a tensor, "
    "and keras.ops in place of numpy."
)
_HOOKS = ("_forward", "_inverse", "_adapt", "build", "get_config", "from_config", "__init__")
_LONGEST = 400
_CHECKER = os.path.dirname(os.path.abspath(__file__)) + os.sep
_CONTRACT = os.path.dirname(os.path.abspath(contract.__file__)) + os.sep
_PYTHON = sysconfig.get_path("stdlib") + os.sep
_FOREIGN = re.compile(
    r"[/\\](site|dist)-packages[/\\](keras|torch|jax|jaxlib|tensorflow|numpy|scipy|einops|optree)[/\\]|"
    r"__autograph_generated|"
    + re.escape(os.path.dirname(os.path.dirname(_CHECKER)))
    + r"[/\\](testing|contract|engines|numerics\.py)([/\\]|$)"
)
_TRACED = ("Tracer", "Concretization", "OperatorNotAllowedInGraph")
_TRACED_WORDS = ("not in one piece", "SymbolicTensor", "symbolic tf.Tensor")
_MIXED_HINT = "The checker runs a float64 copy: take functions that keep float64 from flowkit.numerics."
_MIXED = re.compile(r"\bfloat\b.*\bdouble\b|\bdouble\b.*\bfloat\b", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Cause:
    """Where an error comes from. Two are the same if one line raised them, whatever the engine made of it.

    `line` is that of the author, or "".
    """

    key: str
    text: str = field(compare=False)
    line: str = field(default="", compare=False)

    def __str__(self):
        return self.text


class Raised(Broken):
    """A promise broken by an error: there is no answer to judge."""

    def __init__(self, error):
        cause, hint = cause_of(error), getattr(error, "hint", None)
        if traced(error):
            text, hint = f"a stop of the compiler, where {ASKS}", COMPILE_HINT
        elif isinstance(error, ContractError):
            text = f"a ContractError: expected {error.expected}, received {error.received}"
        else:
            text = text_of(error)
            hint = _MIXED_HINT if _MIXED.search(text) else hint
        super().__init__("an answer", text, hint=hint, cause=cause)


def cause_of(error):
    """Return the `Cause` of an error."""
    inner = traced(error) or error
    kind, stack = type(inner).__name__, _stack(inner)
    if own := _own_lines(inner) or _own_lines(error):
        method = next((name for _, _, name in reversed(own) if name in _HOOKS), "the layer")
        file, line, name = own[-1]
        place = _place(file, line)
        return Cause(
            place, f"{method} raises {kind} at {place}", f"{place}, in {name}: `{_code(file, line)}`"
        )
    if isinstance(inner, ContractError):
        return Cause(f"contract: {inner.clause}", f"the layer raises {kind} {inner.clause!r}")
    base = [entry for entry in stack if entry[0].startswith(_CONTRACT)]
    line = ""
    if base and base[-1][2] in ("call", "pair", "per_sample"):
        line = "what _forward and _inverse return, which is to be a pair (output, log_det)"
    return Cause(_place(*(base or stack)[-1][:2]), f"the layer raises {kind}", line)


def message_of(error):
    """Return an error's message as one plain line, without colours and without what Keras and TensorFlow add."""
    # Keras repeats the message for each layer on the way.
    text = str(error).split("Exception encountered: ")[-1].rstrip()
    if text.startswith("in user code:"):
        text = re.split(r"\n\n(?= *\w+: )", text, maxsplit=1)[-1]  # after the lines of the traceback
    text = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", text).split())
    inner = re.search(r"Exception encountered when calling \S+ (.*) Arguments received by", text)
    text = (inner[1] if inner else text).removeprefix(f"{type(error).__name__}: ")
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."


def text_of(error):
    """Return an error's class and message as one plain line."""
    return f"{type(error).__name__}: {message_of(error)}"


def slip_of_the_checker(error):
    """Return True for a slip of the checker's own code, which must not pass for a catch."""
    slips = (AttributeError, ImportError, KeyError, NameError, UnboundLocalError)
    return isinstance(error, slips) and _stack(error)[-1][0].startswith(_CHECKER)


def not_implemented(call):
    """Return what an author says of a direction that is missing; None if `call()` of it answers, or fails otherwise.

    An author says it by NotImplementedError, as the base class does. An engine raises that too, for an operation that
    it lacks: a mistake to report.
    """
    try:
        call()
    except NotImplementedError as error:
        file = _stack(error)[-1][0]
        if _is_own(file) or file == flow_layer.__file__:
            return f"none ({message_of(error) or 'NotImplementedError'})"
    except Exception:  # the clauses will say what is wrong
        return None
    return None


# Whose lines these are


def _stack(error):
    """Return (file, line, function) of each frame of an error, innermost last."""
    return [(frame.filename, frame.lineno, frame.name) for frame in traceback.extract_tb(error.__traceback__)]


def _own_lines(error):
    """Return the entries of a stack that belong to the author, of an error's text, of itself, or of what it came of.

    Compilers run other code than the author's, and write the author's lines into the text.
    """
    written = re.findall(r'File "([^"]+)", line (\d+)(?:, in (\w+))?', str(error))
    for stack in ([(file, int(line), name) for file, line, name in written], *map(_stack, _chain(error))):
        if own := [entry for entry in stack if _is_own(entry[0])]:
            return own
    return []


def _is_own(file):
    """Return True for a file, or a cell of a notebook, that is neither a library's, nor Python's, nor the checker's."""
    if file.startswith("<"):
        return file.startswith(("<stdin", "<ipython"))
    pythons = file.startswith(_PYTHON) and "site-packages" not in file
    return not pythons and not _FOREIGN.search(file)


def _place(file, line):
    near = file.startswith(os.getcwd() + os.sep)
    return f"{os.path.relpath(file) if near else file}:{line}"


def _code(file, line):
    return linecache.getline(file, line).strip()


# A compiler that stops


def traced(error):
    """Return the engine's own complaint that a traced tensor has no value, which Keras may have wrapped, or None."""
    for link in _chain(error):
        if type(link).__name__.startswith(_TRACED) or any(word in str(link) for word in _TRACED_WORDS):
            return link
    return None


def _chain(error):
    """Yield an error and those that it came of."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
