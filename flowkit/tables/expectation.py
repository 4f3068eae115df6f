"""Say in words what would have been expected in a column."""

import math
from typing import Any

import numpy as np

from flowkit.data.category import Category
from flowkit.data.column_types import Number
from flowkit.tables.conditionals import Conditional

_SHARE = 0.98  # of rows alike
_WORDS = 4  # categories, at most


def expected(found: Conditional, row: int, library: str) -> str:
    """Return in words what 98 % of the rows have that are like a row in all other columns."""
    runs = found.runs(row, _SHARE)
    if isinstance(found.kind, Category):
        parts = [f"{_category(found.kind, code)} ({mass:.0%})" for code, _, mass in runs]
        if len(parts) > _WORDS:
            parts = [*parts[:_WORDS], f"one of {len(parts) - _WORDS} others"]
    else:
        runs = [(first, last, first in found.kind.atom_codes) for first, last, _ in runs]
        ends = [
            end for first, last, single in runs if not (single or math.isnan(first)) for end in (first, last)
        ]
        written = numbers(found.kind, np.array(ends), library)
        pairs = zip(written[::2], written[1::2], strict=True)
        parts = [first if first == last else f"{first} to {last}" for first, last in pairs]
        atoms = np.array([first for first, _, single in runs if single])
        parts += [entry_in_words(entry) for entry in found.kind.entries(atoms, library).to_list()]
        parts += ["a missing entry"] * any(math.isnan(first) for first, _, _ in runs)
    listed = ", ".join(parts[:-1]) + " or " * (len(parts) > 1) + parts[-1]
    return f"{_SHARE:.0%} of such rows have {listed}".replace("%", " %")


def _category(kind, code):
    return "a missing entry" if code >= len(kind.values) else str(kind.values[int(code)])


def numbers(kind: Number, codes: np.ndarray, library: str) -> list[str]:
    """Return numbers or dates of codes in words, with two digits of their range."""
    entries = kind.entries(codes, library).to_list()
    if not all(isinstance(entry, int | float) for entry in entries):
        return [str(entry)[:19].removesuffix(" 00:00:00") for entry in entries]
    width = max(entries) - min(entries) if entries else 0
    digits = 1 - math.floor(math.log10(width or max(map(abs, entries), default=1) or 1)) + (not width)
    digits = min(digits, 0) if all(isinstance(entry, int) for entry in entries) else digits
    comma = "," if max(map(abs, entries), default=0) >= 10_000 else ""  # none in years
    return [f"{round(entry, digits):{comma}.{max(0, digits)}f}" for entry in entries]


def entry_in_words(entry: Any, absent: bool = False) -> str:
    """Return an entry of a frame in words; "missing" for one that is `absent`."""
    if absent:
        return "missing"
    if isinstance(entry, bool) or not isinstance(entry, int | float):
        return str(entry).removesuffix(" 00:00:00")
    comma = "," if abs(entry) >= 10_000 else ""
    return f"{entry:{comma}.0f}" if entry % 1 == 0 else f"{entry:{comma}.6g}"
