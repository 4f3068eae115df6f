"""Hypothesis strategies: flows of public parts, with a bijector of yours among them."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import hypothesis.strategies as st
import numpy as np

from flowkit.contract import FlowLayer
from flowkit.flow import Flow
from flowkit.flow.seeding import seeded
from flowkit.testing.grammar import CONTEXTS, Expression, Grammar
from flowkit.testing.inputs import points_of
from flowkit.testing.subject import recreate

__all__ = ["DrawnFlow", "flows"]


@dataclass(frozen=True, repr=False)
class DrawnFlow:
    """A flow with data for it: what `flows` draws. Its repr is code for an `@example`.

    - `make`: a function without arguments that makes the flow.
    - `event`: the shape of a row of data.
    - `context`: the shape of a row of its context, the number of classes of its labels, or None.
    - `seed`: of the weights, the data and the context.

    >>> from flowkit.bijectors import Shift
    >>> drawn = DrawnFlow(lambda: Flow(Shift()), (2,))
    >>> drawn.flow(), drawn.rows(5)[0].shape
    (Flow(Shift(), Normal()), (5, 2))
    """

    make: Callable[[], Flow]
    event: tuple[int, ...]
    context: tuple[int, ...] | int | None = None
    seed: int = 0

    def flow(self) -> Flow:
        """Return a new flow, not built, with the same weights each time."""
        with seeded(self.seed):
            return self.make()

    def rows(self, count: int = 8, turn: int = 0) -> tuple[Any, Any]:
        """Return `count` rows of data and their context, numpy arrays; others for another `turn`."""
        flow, rng = self.make(), np.random.default_rng([self.seed, turn])
        real = rng.normal(size=(count, *self.event))
        if flow.dequantize is None:
            moves = not flow.bijector.spec.rearranges
            x = points_of((flow.bijector.spec if moves else flow.base).domain, real).astype("float32")
        else:
            x = points_of(flow.dequantize.spec.domain, real).astype("uint8")
        if self.context is None:
            return x, None
        if isinstance(self.context, int):
            return x, rng.integers(0, self.context, count).astype("int32")
        return x, rng.normal(size=(count, *self.context)).astype("float32")

    def __repr__(self):
        is_code = isinstance(self.make, Expression)
        code = f"lambda: {self.make}" if is_code else getattr(self.make, "__name__", repr(self.make))
        context = "" if self.context is None else f", context={self.context!r}"
        return f"DrawnFlow({code}, {self.event}{context}, seed={self.seed})"


def flows(bijector: Any = None) -> st.SearchStrategy[DrawnFlow]:
    """Draw flows: a `DrawnFlow` each, that has the flow and data for it.

    `bijector` puts a bijector of yours into each of them, alone or among public parts: a class or a function without
    arguments, an instance, which is made again through its config, or a strategy of these.

    >>> flows().example()  # doctest: +SKIP
    DrawnFlow(lambda: Flow(Shift()), (1,), seed=0)
    """
    if not (bijector is None or callable(bijector) or isinstance(bijector, st.SearchStrategy)):
        raise TypeError(
            f"flows: got {bijector!r}, expected a bijector's class, an instance, a function without arguments that "
            "makes one, or a strategy of these."
        )
    own = bijector if isinstance(bijector, st.SearchStrategy) else st.just(bijector)
    return _flows(own)


@st.composite
def _flows(draw, own):
    given = draw(own)
    call = (
        given
        if given is None
        else Expression(recreate, given)
        if isinstance(given, FlowLayer)
        else Expression(given)
    )
    before = random.getstate()  # which layers that are made change
    try:
        return DrawnFlow(*Grammar(draw, draw(st.sampled_from(list(CONTEXTS)))).flow(call))
    finally:
        random.setstate(before)
