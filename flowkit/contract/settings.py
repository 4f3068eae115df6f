"""Settings of a call that no argument carries to the layers: steps of a solve, guidance, and the need of log-dets."""

import contextlib
import math
import threading
from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple

from flowkit.contract.arguments import real

Weight = Annotated[float, real(0, math.inf, "a finite number from 0 up")]


class Settings(NamedTuple):
    """Hold what the scopes of `setting` have set. Another program is compiled for each combination.

    - `steps`: `Continuous` layers take so many steps of one length; None: their own. The classical Runge-Kutta method
      then takes the place of an adaptive one. With `finer` they take twice as many.
    - `guidance`: the weight by which layers with an optional context move away from the answer without it; None: their
      own, or none.
    - `log_det`: False if log-dets are not needed: layers may then return 0, as `Continuous`, which integrates no
      divergence, and `Coupling` do.
    """

    steps: int | None = None
    finer: bool = False
    guidance: float | None = None
    log_det: bool = True


_USUAL = Settings()
# By thread. `torch.compile` reads a dict, and stops at a context variable.
_OF_THREADS: dict[int, Settings] = {}


def settings() -> Settings:
    """Return the settings of this thread.

    >>> with setting(steps=5):
    ...     settings().steps
    5
    """
    return _OF_THREADS.get(threading.get_ident(), _USUAL) if _OF_THREADS else _USUAL


@contextlib.contextmanager
def setting(**changed: Any) -> Iterator[None]:
    """Return a scope with some of the `Settings` changed."""
    thread, before = threading.get_ident(), settings()
    _OF_THREADS[thread] = before._replace(**changed)
    try:
        yield
    finally:
        _OF_THREADS[thread] = before
        if before == _USUAL:
            del _OF_THREADS[thread]
