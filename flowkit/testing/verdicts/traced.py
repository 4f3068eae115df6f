"""Why an engine's compiler stopped, and at which line of the author's code."""

import linecache
import os
import re
import sysconfig
import traceback

ASKS = "Python asks for a tensor's value, which a compiled function does not have"
HINT = (
    "Use ops.where, ops.cond or ops.while_loop in place of a Python `if` or `while` on a tensor, "
    "and keras.ops in place of numpy."
)


def complaint(error):
    """The engine's own complaint that a traced tensor has no value, which Keras may have made another of, or None."""
    for link in _chain(error):
        if type(link).__name__.startswith(_KINDS) or any(word in str(link) for word in _WORDS):
            return link
    return None


_KINDS = ("Tracer", "Concretization", "OperatorNotAllowedInGraph")
_WORDS = ("not in one piece", "SymbolicTensor", "symbolic tf.Tensor")


def place(error):
    """file:line and the code of the innermost line that is neither a library's nor the checker's, or None."""
    frames = [(file, int(line)) for file, line in re.findall(r'File "([^"]+)", line (\d+)', str(error))]
    if not frames:
        for link in _chain(error):
            frames += [(frame.filename, frame.lineno) for frame in traceback.extract_tb(link.__traceback__)]
    for file, line in reversed(frames):
        if is_own(file):
            return f"{os.path.basename(file)}:{line}, `{linecache.getline(file, line).strip()}`"
    return None


def is_own(file):
    """Whether a file of code is neither a library's, nor Python's, nor the checker's."""
    pythons = file.startswith(_PYTHON) and "site-packages" not in file
    return os.path.isfile(file) and not pythons and not _FOREIGN.search(file)


def _chain(error):
    """An error and those that it came of."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_FOREIGN = re.compile(
    r"[/\\](site|dist)-packages[/\\](keras|torch|jax|jaxlib|tensorflow|numpy)[/\\]|__autograph_generated"
    + "|"
    + re.escape(_PACKAGE)
    + r"[/\\](testing|contract|backends|numerics\.py)([/\\]|$)"
)
_PYTHON = sysconfig.get_path("stdlib") + os.sep
