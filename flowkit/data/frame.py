"""Data frames of pandas and polars: their columns by name, as numpy, and back.

Neither is imported before a frame has to be made: what is given tells which it is.
"""

import importlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

LIBRARIES = ("pandas", "polars")
MOST_COLUMNS = 2**16  # of a table whose columns have names


def is_frame(x: Any) -> bool:
    """Whether `x` is a DataFrame of pandas or polars, or of a class derived from one."""
    return _library(x) is not None


@dataclass(frozen=True)
class Columns:
    """The columns of a table in their order, and the library whose frames it came in: "pandas", "polars" or None.

    >>> columns = Columns(("age", "height"), "pandas")
    >>> columns.frame(np.array([[30.0, 1.75]])).columns.tolist()  # doctest: +SKIP
    ['age', 'height']
    """

    names: tuple[str | int, ...]
    library: str | None

    def __post_init__(self) -> None:
        """Raise ValueError for a library that is not one of `LIBRARIES` or None, and for names that name no columns.

        A saved flow restores both from its file, so neither can be trusted.
        """
        if self.library is not None and self.library not in LIBRARIES:
            raise ValueError(
                f"Columns: expected 'pandas', 'polars' or None as library, received {self.library!r}."
            )
        check_names(self.names)

    @classmethod
    def of(cls, frame: Any) -> "Columns":
        """Return the columns of `frame`. Raises ValueError for repeated names, and names of other types."""
        return cls(tuple(frame.columns), _library(frame))

    def values(self, frame: Any) -> np.ndarray:
        """The entries of `frame`, (rows, columns), its columns put in order by their names.

        A column without missing entries keeps its type, as far as one array has one. Raises ValueError, with the
        names, for columns that are missing or were not there before, and for one that holds no numbers.
        """
        given = dict.fromkeys(Columns.of(frame).names)  # a set in order
        missing = [name for name in self.names if name not in given]
        known = set(self.names)
        more = [name for name in given if name not in known]
        if missing or more:
            found = [
                f"{_listed(names)} {word}"
                for names, word in ((missing, "missing"), (more, "in addition"))
                if names
            ]
            raise ValueError(
                f"expected a frame with the columns {_listed(self.names)}, received one with {' and '.join(found)}."
            )
        return np.stack([_numbers(frame[name], name) for name in self.names], axis=1)

    def frame(self, values: np.ndarray) -> Any:
        """`values`, (rows, columns), as a frame of the same library with the same columns; for None as they are.

        Raises ImportError if the library is not installed here.
        """
        if self.library is None:
            return values
        try:
            library = importlib.import_module(self.library)
        except ImportError:
            raise ImportError(
                f"expected {self.library} to be installed, whose frames the flow was fitted on: pip install "
                f"{self.library}, or set flow.columns = None for arrays."
            ) from None
        return library.DataFrame({name: values[:, i] for i, name in enumerate(self.names)})


def check_names(names: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return `names`; ValueError unless they are 1 to `MOST_COLUMNS` different words or whole numbers."""
    if not 0 < len(names) <= MOST_COLUMNS:
        raise ValueError(f"expected 1 to {MOST_COLUMNS:,} columns, received {len(names):,}.")
    odd = [name for name in names if isinstance(name, bool) or not isinstance(name, str | int)]
    if odd:
        raise ValueError(f"expected columns that are named by a word or a number, received {odd[0]!r}.")
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise ValueError(
            f"expected a name of its own for each column, received {_listed(twice)} more than once. Rename or leave "
            "out all but one."
        )
    return names


def _library(x):
    """The library whose DataFrame `x` is, or None."""
    for kind in type(x).__mro__:
        library = kind.__module__.split(".")[0]
        if kind.__name__ == "DataFrame" and library in LIBRARIES:
            return library
    return None


def _numbers(series, name):
    """A column as numpy; what is missing is NaN."""
    try:
        # pandas has types of its own that know of missing entries, whose numpy is an array of objects.
        own = getattr(series.dtype, "na_value", None) is not None and not isinstance(series.dtype, np.dtype)
        if own and series.dtype.kind in "iufb":
            own = "bool" if series.dtype.kind == "b" else series.dtype.kind + "8"
            values = series.to_numpy("float64" if series.isna().any() else own, na_value=np.nan)
        elif str(series.dtype) == "category":
            values = np.asarray([name], object)
        else:
            values = series.to_numpy()
    except (TypeError, ValueError):
        values = np.asarray([name], object)
    if values.dtype.kind not in "iufb":
        raise ValueError(
            f"expected numbers in column {name!r}, received {series.dtype}. Leave it out; what says which kind a "
            "row is can be given as context=, as a whole number that an embedding reads."
        )
    return values


def _listed(names: Sequence[Any]) -> str:
    """The first names, so that an error stays short."""
    shown = ", ".join(repr(name) for name in names[:6])
    return f"{shown}, ..." if len(names) > 6 else shown
