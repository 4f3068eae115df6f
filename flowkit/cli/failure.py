"""What goes wrong is said in one line on standard error, and in the exit code."""

import os
import sys
import traceback
import warnings

BAD_INPUT, FAILED, INTERRUPTED = 2, 1, 130

# Refusals of what the user gave; ContractError, RecipeError, CheckpointError are ValueErrors.
_REFUSALS = (ValueError, OSError, ImportError)


class CommandError(Exception):
    """A command that cannot go on: one line for the user, and an exit code."""

    def __init__(self, message, code=BAD_INPUT):
        super().__init__(message)
        self.code = code


def report(error):
    """Say `error` in one line on standard error and return the exit code.

    With FLOWKIT_DEBUG=1 the traceback comes first.
    """
    if os.environ.get("FLOWKIT_DEBUG") not in (None, "", "0"):
        traceback.print_exception(error)
    if isinstance(error, CommandError):
        say(str(error))
        return error.code
    if isinstance(error, _REFUSALS):
        say(str(error) or type(error).__name__)
        return BAD_INPUT
    if type(error).__name__ == "TrainingDiverged":
        say(str(error))
        return FAILED
    say(f"{type(error).__name__}: {error} (FLOWKIT_DEBUG=1 shows where)")
    return FAILED


def say(message):
    """One line on standard error, after the program's name."""
    line = "; ".join(part.strip() for part in str(message).splitlines() if part.strip())
    print(f"flowkit: {line}", file=sys.stderr, flush=True)


def warnings_in_one_line():
    """Make Python's warnings read like the other messages."""
    warnings.formatwarning = lambda message, *_, **__: f"flowkit: {message}\n"
