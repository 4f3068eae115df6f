"""Where a command begins and ends; it listens to Ctrl-C from the first moment on."""

import os
import sys

from flowkit.cli import interrupt
from flowkit.cli.failure import BAD_INPUT, INTERRUPTED, CommandError, report, say, warnings_in_one_line


def main(arguments=None):
    """Run one command and return the exit code: 0, 2 for bad input, 1 for a failure, 130 for Ctrl-C."""
    warnings_in_one_line()
    interrupt.listen()
    try:
        result = _run(arguments)
    except KeyboardInterrupt:
        result = INTERRUPTED
    except CommandError as error:
        return report(error)
    except Exception as error:
        if not interrupt.heard():
            return _refused(error)
        result = INTERRUPTED  # in the middle of an engine's work, which then failed in its own way
    finally:
        interrupt.answered()
    if result == INTERRUPTED:
        say("interrupted")
    return result if isinstance(result, int) else 0


def script():
    """`main` as a process of its own, which ends here."""
    code = main()
    if code == INTERRUPTED:
        # JAX, interrupted in the middle of its work, may crash while Python takes itself apart.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _run(arguments):
    import typer  # what takes a moment comes when Ctrl-C is listened to

    from flowkit.cli.app import app

    try:
        return app(arguments, prog_name="flowkit", standalone_mode=False)
    except typer.Exit as error:
        return error.exit_code
    except typer.Abort:
        return INTERRUPTED


def _refused(error):
    """Say what went wrong and return the exit code; typer's own errors are about the command line."""
    if not hasattr(error, "format_message"):
        return report(error)
    if message := error.format_message():  # none where the help was shown instead
        command = error.ctx.command_path if getattr(error, "ctx", None) else "flowkit"
        say(f"{message} (`{command} --help` lists what there is)")
    return BAD_INPUT
