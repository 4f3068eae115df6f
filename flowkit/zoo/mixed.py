"""Flows of tables of which some columns are angles: what takes the place of the parts of a table without them."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from flowkit.bijectors import (
    ActNorm,
    Autoregressive,
    Chain,
    Coupling,
    LULinear,
    OnColumns,
    Pointwise,
    Standardize,
    Unconstrain,
)
from flowkit.conditioners import AngularMADE, AngularMLP
from flowkit.distributions import Joint, Normal, Uniform
from flowkit.flows.flow import Flow
from flowkit.transforms import ByColumn, CircularRationalQuadratic, RationalQuadratic
from flowkit.zoo.table_front import angular_columns, each_domain
from flowkit.zoo.vectors import network_context, vector_flow


class Mixed:
    """The columns of a table with `domains`, of which some are circular; `spline` moves the real ones.

    A circular column is moved by a circular spline of as many bins, reaches networks as its cosine and sine, and is
    uniform at the end. Matrices and standardisation are for the real columns alone. So no part has a seam.
    """

    def __init__(self, domains: Any, spline: RationalQuadratic, features: int | None) -> None:
        self.domains = each_domain(domains, features)
        self.circular = angular_columns(domains, features)
        self.splines = [
            CircularRationalQuadratic(spline.bins) if turns else spline for turns in self.circular
        ]
        self.real = [not turns for turns in self.circular]

    @property
    def features(self) -> int:
        """How many columns there are."""
        return len(self.circular)

    def front(self) -> list[Any]:
        """What brings each column to the scale that layers are made for."""
        scaled = self._of_real(lambda: Chain([Standardize(), ActNorm(factor=1.0)]))
        return [Unconstrain(self.domains), *scaled]

    def marginals(self) -> Pointwise:
        """A spline of each column by itself."""
        return Pointwise(ByColumn(self.splines))

    def coupling(self, layer: int, hidden: Sequence[int], context: int, linear: str) -> list[Any]:
        """The coupling of that number, 0 the first, and what stands before it.

        Layers come in twos that change roles. Which columns are together is told by a digit of their places in binary,
        another for each two: after log2 of so many columns all have been changed given each other. With `linear`
        "none" it is always the last digit.
        """
        digits = max(1, (self.features - 1).bit_length())
        digit = 0 if linear == "none" else layer // 2 % digits
        kept = [not place >> digit & 1 for place in range(self.features)]
        network = AngularMLP(hidden, angles=self._places(self.circular), context=network_context(context))
        step = Coupling(network, ByColumn(self.splines), split=kept, swap=bool(layer % 2))
        return [*self._mixing(linear, layer), step]

    def autoregressive(self, layer: int, hidden: Sequence[int], context: int, linear: str) -> list[Any]:
        """The autoregressive layer of that number, in one order or the other, and what stands before it."""
        # The network sees the columns in order, where the transform knows them by their places.
        angles = self._places(self.circular[::-1] if layer % 2 else self.circular)
        network = AngularMADE(hidden, angles=angles, context=network_context(context))
        order = "reversed" if layer % 2 else None
        return [*self._mixing(linear, layer), Autoregressive(network, ByColumn(self.splines), order=order)]

    def base(self, base: Any) -> Any:
        """The density of the latents: `base`, None for the standard normal, of real columns; uniform of the others."""
        uniform = Uniform(-math.pi, math.pi)
        if isinstance(base, Joint):
            return base
        if not any(self.real):
            return uniform if base is None else base
        real = Normal() if base is None else base
        return Joint([real, uniform], [self._places(self.real), self._places(self.circular)])

    def flow(self, family: str, steps: Sequence[Any], context: int, base: Any, embedding: Any) -> Flow:
        """The flow of `steps`, lists of bijectors, after `front`."""
        return vector_flow(
            family,
            [part for some in steps for part in some],
            features=self.features,
            context=context,
            base=self.base(base),
            embedding=embedding,
            front=self.front(),
        )

    def _mixing(self, linear, layer):
        if linear == "lu" and layer:
            return self._of_real(lambda: LULinear(bias=True))
        return []

    def _of_real(self, make: Callable[[], Any]) -> list[Any]:
        return [OnColumns(make(), self.real, others="circular")] if any(self.real) else []

    @staticmethod
    def _places(marked):
        return [place for place, mark in enumerate(marked) if mark]
