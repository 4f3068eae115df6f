"""The error for a column of a table that a layer cannot take."""

import functools
from collections.abc import Sequence
from typing import Any

from flowkit.contract.errors import ContractError, label


def column_name(index: int, names: Sequence[Any] | None = None) -> str:
    """Return a column's name for an error, or its place without names.

    >>> column_name(1), column_name(1, ["age", "height"])
    ('column 1', "column 'height'")
    """
    return f"column {index}" if names is None else f"column {names[index]!r}"


class ColumnError(ContractError):
    """Error for a column that a layer cannot take: its place (`column`), and the reason (`fault`).

    A layer knows a column by its place. A flow that was fitted on a frame raises `named` instead.

    >>> raise ColumnError("adapt", "standardize", 1, "a constant", expected="columns that vary").named(["age", "sex"])
    Traceback (most recent call last):
    flowkit.contract.columns.ColumnError: standardize broke 'adapt': expected columns that vary, received column 'sex': a constant.
    """  # noqa: E501, a message of one line

    def __init__(
        self,
        clause: str,
        bijector: Any,
        column: int,
        fault: str,
        *,
        expected: object,
        hint: str | None = None,
        names: Sequence[Any] | None = None,
    ) -> None:
        self.column, self.fault = column, fault
        received = f"{column_name(column, names)}: {fault}"
        super().__init__(clause, bijector, expected=expected, received=received, hint=hint)

    def named(self, names: Sequence[Any] | None) -> "ColumnError":
        """Return the same error with the name of the column."""
        given: dict[str, Any] = {"expected": self.expected, "hint": self.hint, "names": names}
        return type(self)(self.clause, self.bijector, self.column, self.fault, **given)

    def __reduce__(self):
        parts: dict[str, Any] = {"expected": self.expected, "hint": self.hint}
        return functools.partial(type(self), **parts), (
            self.clause,
            label(self.bijector),
            self.column,
            self.fault,
        )
