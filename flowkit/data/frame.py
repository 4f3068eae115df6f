"""Columns of data frames by name: frames in as numpy, and back, through narwhals."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import numpy as np
from narwhals.typing import IntoDataFrame

from flowkit.contract import Tensor

LIBRARIES = ("pandas", "polars")


def is_frame(x: Tensor) -> bool:
    """Return True for a DataFrame of pandas or polars, or of a class derived from one."""
    return nw.dependencies.is_pandas_dataframe(x) or nw.dependencies.is_polars_dataframe(x)


@dataclass(frozen=True)
class Columns:
    """The columns of a table in their order, and the library of its frames: "pandas", "polars" or None.

    >>> columns = Columns(("age", "height"), "pandas")
    >>> columns.frame(np.array([[30.0, 1.75]])).columns.tolist()  # doctest: +SKIP
    ['age', 'height']
    """

    names: tuple[str | int, ...]
    library: str | None

    @property
    def missing(self) -> tuple[int, ...]:
        """Return the places of the columns that may hold NaN for a missing entry."""
        return ()

    def stored(self) -> Any:
        """Return the columns as a flow's file holds them."""
        return [list(self.names), self.library]

    def __post_init__(self) -> None:
        """Raise ValueError for another library, and for names that name no columns.

        A saved flow restores both from its file, so neither can be trusted.
        """
        if self.library is not None and self.library not in LIBRARIES:
            raise ValueError(f"Columns' library: got {self.library!r}, expected 'pandas', 'polars' or None.")
        check_names(self.names)

    @classmethod
    def of(cls, frame: IntoDataFrame) -> "Columns":
        """Return the columns of `frame`. Raises ValueError for repeated names, and names of other types."""
        library = "pandas" if nw.dependencies.is_pandas_dataframe(frame) else "polars"
        return cls(tuple(frame.columns), library)

    def values(self, frame: IntoDataFrame) -> np.ndarray:
        """Return the entries of `frame`, (rows, columns), its columns put in order by their names.

        A column without missing entries keeps its type, as far as one array has one. Raises ValueError, with the
        names, for columns that are missing or additional, and for one that holds no numbers.
        """
        columns = self.in_order(frame)
        return np.stack(
            [_numbers(series, name) for series, name in zip(columns, self.names, strict=True)], axis=1
        )

    def in_order(self, frame: IntoDataFrame) -> list[Any]:
        """Return the columns of `frame` in order, as narwhals series.

        Raises ValueError, with the names, for columns that are missing or additional.
        """
        known, given = (dict.fromkeys(names) for names in (self.names, Columns.of(frame).names))
        missing = [name for name in known if name not in given]
        more = [name for name in given if name not in known]
        if missing or more:
            raise ValueError(
                f"got a frame with {_listed(missing)} missing and {_listed(more)} in addition, expected the columns "
                f"{_listed(self.names)}."
            )
        columns = {series.name: series for series in nw.from_native(frame, eager_only=True).iter_columns()}
        return [columns[name] for name in self.names]

    def frame(self, values: np.ndarray) -> Any:
        """Return `values`, (rows, columns), as a frame of the same library; unchanged without a library.

        Raises ImportError if the library is not installed here.
        """
        if self.library is None:
            return values
        columns: Any = {name: values[:, i] for i, name in enumerate(self.names)}
        return nw.from_dict(columns, backend=self.library).to_native()


def check_names(names: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return `names`; ValueError unless they are different words or whole numbers, at least one."""
    if not names:
        raise ValueError("got no columns, expected at least one.")
    odd = [name for name in names if isinstance(name, bool) or not isinstance(name, str | int)]
    if odd:
        raise ValueError(f"got {odd[0]!r} as the name of a column, expected a word or a whole number.")
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise ValueError(
            f"got {_listed(twice)} more than once, expected a name of its own for each column. Rename or leave out all "
            "but one."
        )
    return names


def _numbers(series, name):
    """Return a column as numpy, with NaN for missing entries."""
    truth = series.dtype == nw.Boolean
    if truth and series.null_count():
        series = series.cast(nw.Float64)
    values = series.to_numpy() if truth or series.dtype.is_numeric() else None
    if values is None or values.dtype.kind not in "iufb":  # as those of a decimal
        raise ValueError(
            f"got {series.dtype} in column {name!r}, expected numbers. Leave it out; the kind of a row can be given as "
            "context=, as a whole number that an embedding reads."
        )
    return values


def _listed(names: Iterable[Any]) -> str:
    """Return the first names, so that an error stays short."""
    shown = [repr(name) for name in names] or ["none"]
    return ", ".join(shown[:6] + ["..."] * (len(shown) > 6))
