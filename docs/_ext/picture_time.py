"""A script that draws a picture of the gallery may take 20 seconds: a slower one is a warning, so `make docs` fails.

On a machine that is slow, or busy with other things, FLOWKIT_DOCS_SLOWER says how many times as long scripts may take
there: `FLOWKIT_DOCS_SLOWER=3 make docs`.
"""

import os
import time
from pathlib import Path

from sphinx.util.logging import getLogger

MOST = 20  # seconds
SLOWER = "FLOWKIT_DOCS_SLOWER"

_logger = getLogger(__name__)
_began = {}


def timed(gallery_conf, fname, when):
    """Before a script begin to count, and after it say what is too long; of a folder of scripts `fname` is None."""
    if fname is None:
        return
    if when == "before":
        _began[fname] = time.perf_counter()
        return
    took, most = time.perf_counter() - _began.pop(fname), MOST * slower()
    if took > most:
        _logger.warning(
            "%s took %.0f s to draw its picture: expected at most %g s. Make it smaller; or, if this machine is slow "
            "or busy, give it more time: %s=3 make docs",
            Path(fname).name,
            took,
            most,
            SLOWER,
            type="gallery",
        )


def slower():
    """How many times 20 seconds a script may take here. Raises ValueError for what is no number from 1 up."""
    given = os.environ.get(SLOWER, "1")
    try:
        factor = float(given)
    except ValueError:
        factor = 0.0
    if not 1 <= factor < float("inf"):
        raise ValueError(f"{SLOWER} expects a number from 1 up, received {given!r}.")
    return factor
