"""A bijector of some columns."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from flowkit.bijectors.unconstrain import domain_of_column
from flowkit.contract import Bijector, Context, ContractError, Domain, Shape, Tensor
from flowkit.contract.arguments import shown
from flowkit.contract.call import Call
from flowkit.contract.checks import refuse_noise
from flowkit.contract.columns import ColumnError, check_count, join, pick
from flowkit.contract.flow_layer import Part


class OnColumns(Bijector):
    """z_a = f(x_a) for the columns a that `columns` marks, z_b = x_b for the others; the log-det is that of f.

    - `columns`: True or False for each entry of the last axis: the columns of a table, the channels of images.
    - `others`: what the other columns may be, as in `Unconstrain`: "real", or "circular" for angles in [-pi, pi).

    A matrix for the real columns of a table of which others are angles, for example. Raises TypeError for no bijector,
    ValueError if no column is marked, ContractError for f of which a direction draws random numbers, for one that
    changes the number of columns, and for data of another number of columns.

    >>> from flowkit.bijectors import Scale
    >>> from keras import ops
    >>> z, _ = OnColumns(Scale(np.log(2.0)), [True, False])(ops.ones((1, 2)))
    >>> ops.convert_to_numpy(z).round(4).tolist()
    [[2.0, 1.0]]
    """

    runs_hooks = False

    def __init__(
        self, bijector: Part, columns: Sequence[bool], *, others: str | Domain = "real", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        marks = np.asarray(columns)
        if marks.dtype != bool or marks.ndim != 1 or not marks.any():
            raise ValueError(
                f"OnColumns's columns: got {shown(columns)}, expected True or False for each, at least one of them "
                "True."
            )
        self.bijector, self.columns, self.others = bijector, marks.tolist(), others
        refuse_noise(self, bijector)
        self._groups = [np.flatnonzero(marks).tolist(), np.flatnonzero(~marks).tolist()]
        other = domain_of_column(others, self._groups[1][0] if self._groups[1] else 0)
        ends = (bijector.spec.domain, bijector.spec.codomain)
        domain, codomain = (Domain.each(*self._domains(end, other)) for end in ends)
        self.spec = replace(
            bijector.spec,
            domain=domain,
            codomain=codomain,
            rearranges=False,
            event_multiple=None,
        )

    def _domains(self, inner, other):
        """Return the set of each column, of which those marked have `inner`."""
        own = iter(inner.columns or [inner] * len(self._groups[0]))
        return [next(own) if marked else other for marked in self.columns]

    @property
    def composite(self) -> bool:
        return self.bijector.composite

    @property
    def num_classes(self) -> int | None:
        return self.bijector.num_classes

    def _check_shape(self, x_shape):
        super()._check_shape(x_shape)
        check_count(self, x_shape, "one for each mark")
        self.bijector._check_shape(self._inner(x_shape))

    def _inner(self, shape):
        return (*shape[:-1], len(self._groups[0]))

    def build(self, x_shape: Shape, context_shape: Shape | None = None) -> None:
        inner = self._inner(x_shape)
        self.bijector.build_for(inner, context_shape)
        refuse_noise(self, self.bijector)
        if tuple(self.bijector.compute_output_shape(inner)) != tuple(inner):
            raise ContractError(
                "event shape", self, expected="a bijector that keeps the shape", received=f"{self.bijector!r}"
            )

    def derive(self, x_shape: Shape, inverse: bool) -> Any:
        return self.bijector.derive(self._inner(x_shape), inverse)

    def run(
        self, x: Tensor, call: Call, noise: Tensor | None = None, derived: Any = None
    ) -> tuple[Tensor, Tensor]:
        own, others = (pick(x, places) if places else None for places in self._groups)
        moved, log_det = self.bijector.run(own, call, None, derived)
        return moved if others is None else join([moved, others], self._groups), log_det

    def run_adapt(self, x: Tensor, context: Context, again: bool = True, noise: Tensor | None = None) -> None:
        try:
            self.bijector.run_adapt_alone(pick(x, self._groups[0]), context, again)
        except ColumnError as error:  # whose column is one of those marked
            named: dict[str, Any] = {"expected": error.expected, "hint": error.hint}
            place = self._groups[0][error.column]
            raise ColumnError(error.clause, self, place, error.fault, **named) from None

    @property
    def refreshes(self) -> bool:
        return self.bijector.refreshes

    def run_refresh(self, x: Tensor, context: Context, noise: Tensor | None = None) -> None:
        self.bijector.run_refresh(pick(x, self._groups[0]), context)
