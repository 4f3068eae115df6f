"""A transform of its own for each column."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

from keras import ops

from flowkit.contract import ContractError, Domain, Tensor
from flowkit.contract.arguments import listed
from flowkit.contract.columns import join, pick
from flowkit.contract.spec import BijectorSpec, weakest
from flowkit.transforms.transform import Transform


class ByColumn(Transform):
    """y_i = f_i(x_i; h_i), f_i the i-th of `transforms`: angles beside real numbers, for example.

    Columns are entries of the last axis. Each gets as many raw numbers as the transform that needs most, and
    ignores those that it does not need. Columns with equal transforms are moved together.

    Raises TypeError for what is no transform, ValueError for none and for one whose columns differ themselves. Layers
    raise ContractError, when they are built, for another number of columns.

    >>> from flowkit.transforms import CircularRationalQuadratic, RationalQuadratic
    >>> mixed = ByColumn([RationalQuadratic(4), CircularRationalQuadratic(4)])
    >>> mixed.parameters, str(mixed.domain)
    (13, 'Domain.each(Domain.REAL, Domain.CIRCLE)')
    """

    by_column = True

    def __init__(self, transforms: Annotated[Iterable[Transform], listed(Transform, "transforms")]) -> None:
        self.transforms = list(transforms)
        if not self.transforms or any(transform.by_column for transform in self.transforms):
            raise ValueError(
                f"ByColumn's transforms: got {self.transforms!r}, expected one for each column, the same for all "
                "numbers in it."
            )
        self.domain = Domain.each(*(transform.domain for transform in self.transforms))
        self.codomain = Domain.each(*(transform.codomain for transform in self.transforms))
        specs = [BijectorSpec(log_det=t.log_det, inverse=t.inverse_kind) for t in self.transforms]
        self.log_det, self.inverse_kind = weakest(specs, "log_det"), weakest(specs, "inverse")
        self.bounded = all(t.bounded or t.log_det != "varying" for t in self.transforms)
        self._groups: dict[Transform, list[int]] = {}
        for place, transform in enumerate(self.transforms):
            self._groups.setdefault(transform, []).append(place)

    @property
    def parameters(self) -> int:
        return max(transform.parameters for transform in self.transforms)

    def in_order(self, order: Sequence[int]) -> "ByColumn":
        """Return the same for columns in another order: None, "reversed", or the indices of the first, second ..."""
        if order is None:
            return self
        if order == "reversed":
            return ByColumn(self.transforms[::-1])
        if len(order) != len(self.transforms):
            raise ValueError(
                f"ByColumn: got the order {order}, expected one of {len(self.transforms)} columns."
            )
        return ByColumn([self.transforms[place] for place in order])

    def check_columns(self, owner: Any, columns: int, hint: str | None = None) -> None:
        if columns != len(self.transforms):
            wanted = f"{len(self.transforms)} columns, one for each transform of its ByColumn"
            raise ContractError("event shape", owner, expected=wanted, received=str(columns), hint=hint)

    def prepare(self, h: Tensor) -> Tensor:
        # How many tensors a transform prepares only it knows: each direction has it prepare its own.
        if h.shape[-1] != len(self.transforms):
            raise ValueError(f"ByColumn: got {h.shape[-1]} columns, expected {len(self.transforms)}.")
        return (h,)

    def _move(self, given, prepared, inverse):
        (h,), moved, log_slopes = prepared, [], []
        for transform, places in self._groups.items():
            raw = pick(h, places)[..., : transform.parameters, :]
            y, log_slope = transform.run(pick(given, places), transform.prepare(raw), inverse=inverse)
            moved.append(y)
            log_slopes.append(log_slope + ops.zeros_like(y))  # a transform may answer 0.0
        groups = list(self._groups.values())
        return join(moved, groups), join(log_slopes, groups)
