"""`flowkit train | sample | evaluate | interpolate | manipulate | convert | check | info`: without writing Python.

Importing this imports neither Keras nor an engine: `--backend` comes first.
"""

import sys

from flowkit.cli import interrupt

__all__ = ["main"]


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
