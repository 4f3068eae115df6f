"""The columns of a mixed table with their types: frames to codes and back, with errors that name column and row."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import narwhals as nw
import numpy as np

from flowkit._printable import printable
from flowkit._shipped import closest
from flowkit.contract.arguments import shown
from flowkit.data.category import Category
from flowkit.data.column_types import ColumnType, Date, Number
from flowkit.data.frame import Columns
from flowkit.data.infer_type import Identifier, infer_type

_COMBINATIONS = 4096  # of categories in place of unseen ones


@dataclass(frozen=True)
class TypedColumns(Columns):
    """The columns of a mixed table: their names, the library of its frames, and a type for each.

    `values(frame)` are codes, as `flowkit.surjections.DequantizeColumns` takes them, and `frame(values)` are entries
    of the types, categories and ranges of the columns. Printed, they are one table.

    >>> import pandas  # doctest: +SKIP
    >>> frame = pandas.DataFrame({"size": [1, 3, 2], "kind": ["b", "a", "b"]})  # doctest: +SKIP
    >>> print(TypedColumns.infer(frame))  # doctest: +SKIP
    column  type      entries  missing
    size    whole     1 to 3
    kind    category  a, b
    >>> TypedColumns.infer(frame).values(frame).tolist()  # doctest: +SKIP
    [[0.0, 1.0], [2.0, 0.0], [1.0, 1.0]]
    """

    types: tuple[ColumnType, ...] = ()
    left_out: tuple[Any, ...] = ()  # names of columns that frames may have, and that are not read

    @classmethod
    def infer(cls, frame: Any, types: Mapping[Any, Any] | None = None, given: Sequence[Any] = ()) -> Any:
        """Return the columns of a frame, their types inferred but for those in `types`, {name: type}.

        Columns that only name or number the rows are left out, unless they are `given` or all are such. Raises
        ValueError with the names of *all* columns that need a decision, and for names that are no columns.
        """
        columns, types = Columns.of(frame), dict(types or {})
        require_columns("types", types, columns.names)
        found, undecided, identifiers = {}, [], {}
        for name, series in zip(columns.names, columns.in_order(frame), strict=True):
            try:
                found[name] = infer_type(series, types.get(name))
            except Identifier as error:
                identifiers[name] = error
            except ValueError as error:
                undecided.append((name, str(error)))
        kept = set(given) if found else set(identifiers)
        undecided += [
            (name, f"text: {identifiers[name]}")
            for name in kept
            if name in identifiers and not identifiers[name].kind
        ]
        if undecided:
            listed = "; ".join(f"{name!r}: {why}" for name, why in undecided)
            names = [name for name, _ in undecided]
            words = [name for name, why in undecided if why.startswith("text")]
            chosen = [name for name in names if name in types]
            advice = ""
            if chosen:
                advice = f", or correct the type, types={{{chosen[0]!r}: ...}}"
            elif words:
                advice = (
                    f", or give a type, types={{{words[0]!r}: 'category'}} (--types '{words[0]}=category')"
                )
            raise ValueError(
                f"got {len(names)} column{'s' * (len(names) > 1)} without a type: {listed}. Leave them out, "
                f"drop={names} (--drop '{','.join(map(str, names))}'){advice}."
            )
        found |= {name: error.kind for name, error in identifiers.items() if name in kept}
        names = tuple(name for name in columns.names if name in found)
        left_out = tuple(name for name in identifiers if name not in kept)
        return cls(names, columns.library, tuple(found[name] for name in names), left_out)

    def some(self, names: Sequence[Any], kind: Any = None) -> Any:
        """Return the columns of some names, as `kind`, a class like this one; None for no names."""
        if not names:
            return None
        types, names = (
            dict(zip(self.names, self.types, strict=True)),
            [n for n in names if n not in self.left_out],
        )
        return (kind or type(self))(tuple(names), self.library, tuple(types[n] for n in names), self.left_out)

    def in_order(self, frame: Any) -> list[Any]:
        return super().in_order(frame[[name for name in frame.columns if name not in self.left_out]])

    def with_unseen(self, share: float) -> Any:
        """Return the columns with this share of unseen categories in each that has categories."""
        types = [replace(kind, unseen=share) if isinstance(kind, Category) else kind for kind in self.types]
        return replace(self, types=tuple(types))

    @property
    def missing(self) -> tuple[int, ...]:
        kinds = enumerate(self.types)
        return tuple(place for place, kind in kinds if kind.missing and math.isnan(kind.missing_code))

    @property
    def atoms(self) -> list[tuple[int, float]]:
        """Return (place, code) of each atom."""
        kinds = enumerate(self.types)
        return [(place, code) for place, kind in kinds for code in getattr(kind, "atom_codes", ())]

    @property
    def codings(self) -> list[Any]:
        """Return each column in the words of `DequantizeColumns`."""
        return [kind.coding for kind in self.types]

    def values(self, frame: Any, *, gaps: bool = False) -> np.ndarray:
        """Return the codes of a frame, float64 (rows, columns), NaN for missing numbers.

        With `gaps`, missing entries are NaN in all columns, also in those without any in the data. Raises ValueError,
        with column and row, for an entry that the column's type cannot be.
        """
        codes, wrong = self.coded(frame, gaps=gaps)
        refuse(wrong)
        return codes

    def coded(self, frame: Any, *, gaps: bool = False) -> tuple[np.ndarray, dict[int, str]]:
        """Return the codes of a frame as `values` does, and {row: its first wrong entry, in words} of wrong rows.

        Such a row has the codes of a right row, or NaN if there is none.
        """
        codes, absent = self._codes(frame, gaps)
        excluded, wrong = self.excluded(codes, absent), {}
        for place, series in enumerate(self.in_order(frame)):
            name, kind = self.names[place], self.types[place]
            for row in np.flatnonzero(excluded[:, place]).tolist():
                received = "a missing entry" if absent[row, place] else _shown(series[row])
                expected = "none, as in training" if absent[row, place] else kind.expected
                wrong.setdefault(row, wrong_entry(received, name, row, expected))
        if wrong:
            right = np.setdiff1d(np.arange(len(codes)), list(wrong))
            codes[list(wrong)] = codes[right[0]] if len(right) else math.nan
        return codes, wrong

    def excluded(self, codes: np.ndarray, absent: np.ndarray) -> np.ndarray:
        """Return which entries have no code."""
        return np.isinf(codes)

    def completed(self, frame: Any) -> dict[int, tuple[np.ndarray, float]]:
        """Return {row: (codes, log share)} of the rows in which unseen categories are all that is wrong.

        Codes are those of the row with each combination of categories in place of the unseen ones, and the share is the
        probability of unseen categories in these columns and of seen ones in the others. Beyond 4,096 combinations the
        last columns have their most frequent category alone.
        """
        codes, absent = self._codes(frame)
        unseen, wrong, found = self.unseen, np.isinf(codes), {}
        right = ~(wrong & (absent | (unseen == 0))).any(axis=1)
        for row in np.flatnonzero(wrong.any(axis=1) & right).tolist():
            choices, count = [], 1
            for place in np.flatnonzero(wrong[row]).tolist():
                kind = self.types[place]
                count *= kind.count
                choices.append(
                    range(kind.count) if count <= _COMBINATIONS else [int(np.argmax(kind.shares[:-1]))]
                )
            rows = np.repeat(codes[[row]], np.prod([len(choice) for choice in choices]), axis=0)
            rows[:, wrong[row]] = list(itertools.product(*choices))
            found[row] = rows, float(np.log(np.where(wrong[row], unseen, 1 - unseen)).sum())
        return found

    @property
    def unseen(self) -> np.ndarray:
        """Return the share of unseen categories in each column."""
        return np.array([getattr(kind, "unseen", 0.0) for kind in self.types])

    @property
    def log_seen(self) -> float:
        """Return the log-probability that no category of a row is an unseen one."""
        return float(np.log1p(-self.unseen).sum())

    def _codes(self, frame, gaps=False):
        """Return (codes, which entries are missing); codes of entries that the column's type excludes are infinite."""
        columns, gone = [], []
        for series, name, kind in zip(self.in_order(frame), self.names, self.types, strict=True):
            try:
                column = kind.codes(series)
            except ValueError as error:
                raise ValueError(f"column {name!r}: got {error}") from None
            absent = np.isnan(column)
            if not gaps:
                column = np.where(absent, kind.missing_code if kind.missing else math.inf, column)
            columns.append(column)
            gone.append(absent)
        return np.stack(columns, axis=1), np.stack(gone, axis=1)

    def drawable(self, values: np.ndarray) -> np.ndarray:
        """Return codes, (rows, columns), as numbers on axes: NaN if missing, dates in days, categories by place."""
        return np.stack([kind.drawable(values[:, place]) for place, kind in enumerate(self.types)], axis=1)

    def frame(self, values: np.ndarray) -> Any:
        """Return codes, (rows, columns), as a frame of the same library; unchanged without a library."""
        if self.library is None:
            return values
        columns = {
            name: kind.entries(values[:, place], self.library).to_native()
            for place, (name, kind) in enumerate(zip(self.names, self.types, strict=True))
        }
        return nw.Implementation.from_backend(self.library).to_native_namespace().DataFrame(columns)

    def stored(self) -> Any:
        return {
            "names": list(self.names),
            "library": self.library,
            "types": [{"type": type(kind).__name__, **asdict(kind)} for kind in self.types],
            "context": isinstance(self, ContextColumns),
            "left_out": list(self.left_out),
        }

    def __str__(self):
        rows = [("column", "type", "entries", "missing")]
        for name, kind in zip(self.names, self.types, strict=True):
            rows.append((str(name), kind.word, kind.span, "may be" if kind.missing else ""))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        for name, kind in zip(self.names, self.types, strict=True):
            if getattr(kind, "distinct", False):
                lines.append(
                    f"{name}: no value occurs twice. If it numbers the rows, leave it out, drop=[{name!r}] "
                    f"(--drop '{name}')."
                )
        for name in self.left_out:
            lines.append(
                f"{name}: left out, since its values are all different and only tell rows apart. A type keeps it, "
                f"types={{{name!r}: 'real'}}, of words 'category' (--types '{name}=real')."
            )
        return "\n".join(printable(line, most=None) for line in lines)


@dataclass(frozen=True)
class ContextColumns(TypedColumns):
    """The columns that a table is conditioned on: `values(frame)` are what networks see of them.

    Numbers, the logarithms of positive ones, cosines and sines of angles, 1 for the category of a row and 0 for each
    other, and 1 where an entry is missing. For a category that training did not see, how often each was seen.
    """

    @property
    def size(self) -> int:
        """Return how many numbers networks see of a row."""
        return sum(len(kind.features(np.ones(1))) for kind in self.types)

    def excluded(self, codes: np.ndarray, absent: np.ndarray) -> np.ndarray:
        return np.isinf(codes) & (absent | (self.unseen == 0))

    def coded(self, frame: Any, *, gaps: bool = False) -> tuple[np.ndarray, dict[int, str]]:
        codes, wrong = super().coded(frame, gaps=gaps)
        parts = [kind.features(codes[:, place]) for place, kind in enumerate(self.types)]
        return np.stack([part for several in parts for part in several], axis=1), wrong


def restored_columns(stored: Any) -> Columns | None:
    """Return the columns that `Columns.stored` returned; None for None."""
    if not stored:
        return None
    if not isinstance(stored, dict):
        return Columns(tuple(stored[0]), stored[1])
    kind = ContextColumns if stored["context"] else TypedColumns
    types = tuple(map(_restored, stored["types"]))
    return kind(tuple(stored["names"]), stored["library"], types, tuple(stored.get("left_out", ())))


def _restored(stored):
    """Return the type of a column from the fields in a file."""
    fields = {key: tuple(value) if isinstance(value, list) else value for key, value in stored.items()}
    return {"Number": Number, "Date": Date, "Category": Category}[fields.pop("type")](**fields)


def _shown(entry):
    """Return an entry of a table in words."""
    if isinstance(entry, float):
        return f"{entry:.10g}"
    return shown(entry) if isinstance(entry, str) else str(entry).removesuffix(" 00:00:00")[:80]


def refuse(wrong: Mapping[int, str], where: str = "") -> None:
    """Raise ValueError, with `where` and the first of them, for rows that the types of columns exclude."""
    if wrong:
        raise ValueError(where + refusal(wrong))


def refusal(wrong: Mapping[int, str]) -> str:
    """Return what is wrong with the first of {row: wrong entry, in words}, and what to do, unless the words say it."""
    first = f"got {wrong[min(wrong)]}"
    cure = (
        ". Leave the row out; or train with such rows, or with another type of the column, types= (--types)."
    )
    return first if first.endswith(".") else first + cure


def wrong_entry(received: str, column: Any, row: int, expected: str) -> str:
    """Return the words for an entry that the type of its column excludes."""
    return f"{received} in column {column!r} of row {row}, counted from 0, expected {expected}"


def require_columns(argument: str, listed: Iterable[Any], names: Sequence[Any]) -> None:
    """Raise ValueError, with the nearest name, for one that is no column."""
    if unknown := [name for name in listed if name not in names]:
        near = closest(str(unknown[0]), list(map(str, names)))
        raise ValueError(f"{argument}: got {unknown[0]!r}, expected names of columns; {near}.")


def split_names(names: Sequence, given: Iterable, drop: Iterable) -> tuple[list[Any], list[Any]]:
    """Return (the columns to model, those they are conditioned on); the others of a table are dropped.

    Raises ValueError for names that are no columns, for one in both lists, and if none is left.
    """
    given, drop = list(given), list(drop)
    require_columns("given", given, names)
    require_columns("drop", drop, names)
    if twice := [name for name in given if name in drop]:
        raise ValueError(f"got column {twice[0]!r} in given= and in drop=, expected it in one.")
    left = [name for name in names if name not in given and name not in drop]
    if not left:
        raise ValueError(
            f"got all columns in given= or drop=, expected at least one of {list(names)} to model."
        )
    return left, given
