"""Where a command begins and ends; it listens to Ctrl-C from the first moment on."""

import os
import sys

from flowkit.cli import interrupt


def main(arguments=None):
    """Run one command and return the exit code: 0, 2 for bad input, 1 for a failure, 130 for Ctrl-C."""
    interrupt.listen()
    try:
        from flowkit.cli import app  # what takes a moment comes when Ctrl-C is listened to

        return app.main(arguments)
    except KeyboardInterrupt:
        print("flowkit: interrupted", file=sys.stderr)
        return interrupt.EXIT_CODE
    finally:
        interrupt.answered()


def script():
    """`main` as a process of its own, which ends here."""
    code = main()
    if code == interrupt.EXIT_CODE:
        # JAX, interrupted in the middle of its work, may crash while Python takes itself apart.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
