"""Where a command begins and ends; it listens to Ctrl-C and SIGTERM from the first moment on."""

import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from flowkit.app import failure, interrupt
from flowkit.app.failure import BAD_INPUT, CommandError, report, say, warnings_in_one_line

_OF_TYPER = 130  # typer turns a KeyboardInterrupt into this exit code; earlier versions into an Abort


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 2 for bad input, 1 for a failure, 130 for Ctrl-C, 143 for SIGTERM."""
    warnings_in_one_line()
    try:
        with interrupt.listening():
            return _answered(arguments)
    except KeyboardInterrupt as error:  # before the command began, or when it had its result
        say(interrupt.words(error))
        return interrupt.exit_code(error)


def script() -> NoReturn:
    """Run `main` as a process of its own, which ends here."""
    code = main()
    # Python, taking itself apart, would print a traceback of a Ctrl-C.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if code in interrupt.EXIT_CODES:  # it ends, and tells the others: one more would end it before
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if code in interrupt.EXIT_CODES or (code and failure.process is not None):
        # JAX may crash at exit when it was interrupted in the middle of its work; in a group exit waits for the others.
        sys.stdout.flush()
        sys.stderr.flush()
        if failure.process is not None:
            from flowkit.distributed.ending import end_process

            end_process(code, in_order=failure.told_to_all)
        os._exit(code)
    sys.exit(code)


def _answered(arguments):
    try:
        result = _run(arguments)
    except KeyboardInterrupt:
        pass
    except CommandError as error:
        return report(error)
    except Exception as error:
        if not interrupt.raised():
            return _refused(error)
        # otherwise in the middle of an engine's work, which then failed in its own way
    else:
        return result if isinstance(result, int) else 0
    interrupt.answer()
    say(interrupt.words())
    return interrupt.exit_code()


def _run(arguments):
    import typer  # slow imports come when signals are listened to

    from flowkit.app.commands import app

    try:
        code = app(arguments, prog_name="flowkit", standalone_mode=False)
    except typer.Exit as error:
        code = error.exit_code
    except typer.Abort:
        code = _OF_TYPER
    if code == _OF_TYPER:
        raise KeyboardInterrupt
    return code


def _refused(error):
    """Report the error and return the exit code; typer's own errors are about the command line."""
    if not hasattr(error, "format_message"):
        return report(error)
    if message := error.format_message():  # none if the help was shown instead
        command = error.ctx.command_path if getattr(error, "ctx", None) else "flowkit"
        say(f"{message} (`{command} --help` lists what there is)")
    return BAD_INPUT
