"""Flows of tables of which some columns are angles: what takes the place of the parts of a table without them."""

import math
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
from flowkit.transforms import ByColumn, CircularRationalQuadratic, RationalQuadratic
from flowkit.zoo.family import Plan


class Mixed:
    """The columns of a table with `domains`, of which some are circular; `spline` moves the real ones.

    A circular column is moved by a circular spline of as many bins, reaches networks as its cosine and sine, and is
    uniform at the end. Matrices and standardisation are for the real columns alone. So no part has a seam.
    """

    def __init__(self, plan: Plan, spline: RationalQuadratic, marginals: bool) -> None:
        if plan.residual:
            raise ValueError(
                f"{plan.family}'s residual: got True and circular columns, expected one of them."
            )
        self.plan, self.circular = plan, plan.circular
        self.splines = [
            CircularRationalQuadratic(spline.bins) if turns else spline for turns in self.circular
        ]
        self.real = [not turns for turns in self.circular]
        self.features = len(self.circular)
        plan.features, plan.front = self.features, self._front(marginals)
        plan.base = self._base(plan.base)

    def _front(self, marginals):
        plan = self.plan
        closed = plan.start == "closed form"
        scaled = plan.closed_form(marginals) if closed else [Standardize(), ActNorm(factor=1.0)]
        by_column = [Pointwise(ByColumn(self.splines))] if marginals else []
        return [Unconstrain(plan.domains), *self._of_real(Chain(scaled)), *by_column]

    def coupling(self, layer: int) -> list[Any]:
        """Return the coupling of that number, 0 the first, and what stands before it.

        Layers come in twos that change roles. Which columns are together is told by a digit of their places in binary,
        another for each two: after log2 of so many columns all have been changed given each other. With `linear`
        "none" it is always the last digit.
        """
        digit = self._digit(layer)
        kept = [not place >> digit & 1 for place in range(self.features)]
        network = AngularMLP(self.plan.hidden, angles=self._places(self.circular), context=self.plan.reads)
        step = Coupling(network, ByColumn(self.splines), split=kept, swap=bool(layer % 2))
        return [*self._mixing(layer), step]

    def autoregressive(self, layer: int) -> list[Any]:
        """Return the autoregressive layer of that number, in one order or the other, and what stands before it.

        Each two layers have an order of their own: those first whose places have a 0 as the last digit in binary, then
        those with a 1; by the last two digits for the next two layers; and so on, which after log2 of so many columns
        begins anew. With `linear` "none" it is always that of the columns. So a domain stays at its place, and
        latents come at the places of what they are of.
        """
        last = 1 << self._digit(layer)  # 1 or 2, 4, ...
        order = sorted(range(self.features), key=lambda place: (place % last, place))
        order = order[::-1] if layer % 2 else order
        # The network sees the columns in order, where the transform knows them by their places.
        angles = self._places([self.circular[place] for place in order])
        network = AngularMADE(self.plan.hidden, angles=angles, context=self.plan.reads)
        plain = list(range(self.features))
        told = None if order == plain else "reversed" if order == plain[::-1] else order
        return [*self._mixing(layer), Autoregressive(network, ByColumn(self.splines), order=told)]

    def _base(self, base: Any) -> Any:
        """The density of the latents: `base`, None for the standard normal, of real columns; uniform of the others."""
        uniform = Uniform(-math.pi, math.pi)
        if isinstance(base, Joint):
            return base
        if not any(self.real):
            return uniform if base is None else base
        real = Normal() if base is None else base
        return Joint([real, uniform], [self._places(self.real), self._places(self.circular)])

    def _digit(self, layer):
        """Return which digit, from the last, of the columns' places in binary tells columns apart."""
        digits = max(1, (self.features - 1).bit_length())
        return 0 if self.plan.linear == "none" else layer // 2 % digits

    def _mixing(self, layer):
        return self._of_real(LULinear(bias=True)) if self.plan.linear == "lu" and layer else []

    def _of_real(self, layer: Any) -> list[Any]:
        return [OnColumns(layer, self.real, others="circular")] if any(self.real) else []

    @staticmethod
    def _places(marked):
        return [place for place, mark in enumerate(marked) if mark]
