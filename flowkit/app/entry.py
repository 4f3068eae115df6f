"""Run a command from its first moment to its last, and handle Ctrl-C and SIGTERM throughout."""

import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from flowkit.app import failure, interrupt
from flowkit.app.failure import BAD_INPUT, report, say, warnings_in_one_line

_OF_TYPER = 130  # typer turns a KeyboardInterrupt into this exit code


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 2 for bad input, 1 for a failure, 130 for Ctrl-C, 143 for SIGTERM."""
    warnings_in_one_line()
    try:
        with interrupt.listening():
            try:
                return _run(arguments)
            except KeyboardInterrupt:
                pass
            except Exception as error:
                if not interrupt.broke_in() or isinstance(error, failure.CommandError):
                    return report(error)
                # otherwise an engine was interrupted in its work, and failed in its own way
            interrupt.end()
            say(interrupt.words())
    except KeyboardInterrupt:  # before the command began, or when it had its result
        say(interrupt.words())
    return interrupt.exit_code()


def script() -> NoReturn:
    """Run `main` as a process of its own, and end the process."""
    code = main()
    # Python would print a traceback of a Ctrl-C in its own exit.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    interrupted = code in interrupt.EXIT_CODES
    if interrupted:  # a further SIGTERM must not end the process before the others of its group know
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if code and failure.process is not None:  # in a group exit waits for the others
        from flowkit.distributed.failed import end_process

        end_process(code, in_order=failure.told_to_all)
    if interrupted:  # JAX may crash at exit when it was interrupted in the middle of its work
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _run(arguments):
    from flowkit.app.commands import command_line  # slow imports come when signals are handled

    words = sys.argv[1:] if arguments is None else arguments
    try:
        code = command_line(next(iter(words), None))(words, prog_name="flowkit", standalone_mode=False) or 0
    except Exception as error:
        if type(error).__name__ == "Abort":  # typer's, for the end of a terminal's input
            raise KeyboardInterrupt from None
        if not hasattr(error, "format_message"):
            raise
        if message := error.format_message():  # none if the help was shown instead
            command = error.ctx.command_path if getattr(error, "ctx", None) else "flowkit"
            say(f"{message} (`{command} --help` lists what there is)")
        return BAD_INPUT
    if code == _OF_TYPER:
        raise KeyboardInterrupt
    return code
