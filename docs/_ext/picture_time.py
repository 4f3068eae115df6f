"""Warn about scripts of the gallery that take more than 20 seconds of processor time, which makes `make docs` fail.

FLOWKIT_DOCS_SLOWER multiplies this time, on a slow machine, and the time for a cell of a page, on a busy one too:
`FLOWKIT_DOCS_SLOWER=3 make docs`.
"""

import os
import time
from pathlib import Path

from sphinx.util.logging import getLogger

MOST = 20  # seconds of processor time: a busy machine takes no more
SLOWER = "FLOWKIT_DOCS_SLOWER"

_logger = getLogger(__name__)
_began = {}


def timed(gallery_conf, fname, when):
    """Start the clock before a script, and warn after it if it took too long. `fname` is None for a folder."""
    if fname is None:
        return
    if when == "before":
        _began[fname] = time.process_time()
        return
    took, most = time.process_time() - _began.pop(fname), MOST * slower()
    if took > most:
        _logger.warning(
            "%s took %.0f s of processor time to draw its picture: expected at most %g s. Make it smaller; or, if this "
            "machine is slow, give it more time: %s=3 make docs",
            Path(fname).name,
            took,
            most,
            SLOWER,
            type="gallery",
        )


def slower():
    """Return the allowed multiple of 20 seconds. Raises ValueError unless it is a number from 1 up."""
    given = os.environ.get(SLOWER, "1")
    try:
        factor = float(given)
    except ValueError:
        factor = 0.0
    if not 1 <= factor < float("inf"):
        raise ValueError(f"{SLOWER}: got {given!r}, expected a number from 1 up.")
    return factor
