"""Errors become one line on standard error and an exit code; text of others is escaped before it is printed."""

import os
import sys
import traceback
import warnings

from flowkit._printable import printable

BAD_INPUT, FAILED = 2, 1

quiet = False  # True if only results and errors are printed
process = None  # the number of this process in a group
told_to_all = False  # True if all processes of the group end for the same reason

# Refusals of input; ContractError, RecipeError, CheckpointError are ValueErrors.
_REFUSALS = (ValueError, OSError, ImportError, NotImplementedError)


class CommandError(Exception):
    """A command that cannot go on: one line for the user, and an exit code. "" if another process prints the line."""

    def __init__(self, message, code=BAD_INPUT):
        super().__init__(message)
        self.exit_code = code


class RecipeError(ValueError):
    """Error for a recipe that cannot be used: one line with the place, what came and what was expected."""


def debugging():
    """Return True if FLOWKIT_DEBUG=1 asks for tracebacks."""
    return os.environ.get("FLOWKIT_DEBUG", "0") not in ("", "0")


def report(error):
    """Print `error` in one line on standard error, with FLOWKIT_DEBUG=1 after its traceback; return the exit code.

    An error that ends all processes of a group is printed by the main one.
    """
    global told_to_all
    told_to_all = getattr(error, "told_to_all", False)
    if debugging():
        traceback.print_exception(error)
    message, code = words(error)
    if message and not (process and told_to_all):
        say(message)
    return code


def together():
    """Return a scope that all processes of a group enter and leave: an error in one ends the command in all."""
    from flowkit.distributed.failed import failing_together

    return failing_together(words)


def on_main(function):
    """Call `function()` in the main process alone. Its error ends the command in all."""
    from flowkit.distributed import is_main

    with together():
        if is_main():
            function()


def words(error):
    """Return (the line to print for `error`, the exit code)."""
    if hasattr(error, "exit_code"):
        return str(error), error.exit_code
    if isinstance(error, OSError) and error.strerror:
        place = error.filename2 or error.filename
        return f"{place}: {error.strerror}" if place else error.strerror, BAD_INPUT
    if isinstance(error, _REFUSALS):
        return str(error) or type(error).__name__, BAD_INPUT
    if isinstance(error, MemoryError):
        return f"not enough memory ({error}): a smaller batch, model or data set takes less", FAILED
    return f"{type(error).__name__}: {error} (FLOWKIT_DEBUG=1 shows where)", FAILED


def say(message):
    """Print one line on standard error, after the program's name, and the process's if it is not the main one."""
    who = f"process {process}: " if process else ""
    print(f"flowkit: {who}{_in_one_line(message)}", file=sys.stderr, flush=True)


def note(message):
    """Print one line as `say` does, unless --quiet."""
    if not quiet:
        say(message)


def progress(*lines):
    """Print lines about what a command does, unless --quiet."""
    if not quiet:
        print(*lines, sep="\n", flush=True)


def _in_one_line(message):
    return printable("; ".join(part.strip() for part in str(message).splitlines() if part.strip()))


def warnings_in_one_line():
    """Make Python's warnings read like the other messages."""
    warnings.formatwarning = lambda message, *_, **__: f"flowkit: {_in_one_line(message)}\n"
