"""The weight by which samples move away from those without a context."""

import contextlib
import math
import threading
from collections.abc import Iterator
from typing import Annotated

from flowkit.contract.arguments import real

Weight = Annotated[float, real(0, math.inf, "a finite number from 0 up")]

# Thread -> the weight. `torch.compile` reads a dict, and stops at a context variable.
_WEIGHTS: dict[int, float] = {}


@contextlib.contextmanager
def guided(weight: float | None) -> Iterator[None]:
    """Return a scope in which layers with an optional context are guided by `weight`; None: by their own, or not."""
    thread = threading.get_ident()
    before = _WEIGHTS.pop(thread, None)
    _set(thread, weight)
    try:
        yield
    finally:
        _WEIGHTS.pop(thread, None)
        _set(thread, before)


def _set(thread, weight):
    if weight is not None:
        _WEIGHTS[thread] = weight


def guidance() -> float | None:
    """Return the weight of the scope, None outside of one: another program is compiled for each."""
    return _WEIGHTS.get(threading.get_ident()) if _WEIGHTS else None
