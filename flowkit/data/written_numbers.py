"""Numbers as people write them: $5.15, 40.9 %, 1,234.5, 12,75 and others."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_SPACES = " \u00a0\u2009\u202f"  # between thousands, and before a sign
_MONEY = "[$¢-¥฿\u20a0-\u20cf]"
_ENTRY = re.compile(
    rf"([-+\u2212]?)((?:{_MONEY}[{_SPACES}]?)?)([-+\u2212]?)([\d.,'\u2019{_SPACES}]*\d(?:[eE][-+]?\d+)?)"
    rf"((?:[{_SPACES}]?(?:{_MONEY}|[%‰]))?)"
)
_MARKS = tuple(
    (thousands, decimal)
    for decimal in ".,"
    for thousands in ("", ",.".replace(decimal, ""), *"'\u2019", *_SPACES)
)


@dataclass(frozen=True)
class NumberFormat:
    """A way to write the numbers of a column.

    - `before`, `after`: a sign of money, or %, with its space. A percentage is the number that stands there.
    - `thousands`, `decimal`: the marks between digits; "" for none.
    - `places`: decimals, if all numbers have as many, or None.
    - `sign_inside`: True if a minus follows `before`, as in $-5.

    >>> NumberFormat(before="$", thousands=",", places=2).write(-1234.5)
    '-$1,234.50'
    """

    before: str = ""
    after: str = ""
    thousands: str = ""
    decimal: str = ""
    places: int | None = None
    sign_inside: bool = False

    @property
    def mark(self) -> str:
        """Return the mark before decimals, also if it follows from the other one alone; "" if neither tells it."""
        return self.decimal or {",": ".", ".": ","}.get(self.thousands, "")

    @property
    def plain(self) -> bool:
        """Return True for numbers as programs write them."""
        return not (self.before or self.after or self.thousands or self.decimal == ",")

    def read(self, text: str) -> int | float | None:
        """Return the number that `text` writes; None for a text of another format."""
        found = _ENTRY.fullmatch(text.strip())
        if found is None or (found[2], found[5]) != (self.before, self.after) or (found[1] and found[3]):
            return None
        if not _pattern(self.thousands, self.decimal).fullmatch(found[4]):
            return None
        digits = found[4].replace(self.thousands, "") if self.thousands else found[4]
        sign = "-" * (found[1] + found[3] in ("-", "\u2212"))
        digits = sign + (digits.replace(self.decimal, ".") if self.decimal else digits)
        return int(digits) if digits.lstrip("-").isdecimal() else float(digits)

    def write(self, number: float) -> str:
        """Return `number` in this format, rounded to its `places` unless that leaves 0 or a whole number of it."""
        digits = repr(number).removesuffix(".0")
        if self.places is not None and (number % 1 == 0 or (self.places and round(number, self.places))):
            digits = f"{number:.{self.places}f}"
        sign = "-" * digits.startswith("-")
        whole, point, fraction = digits.removeprefix("-").partition(".")
        if self.thousands and whole.isdecimal():
            whole = f"{int(whole):,}".replace(",", self.thousands)
        body = whole + point.replace(".", self.decimal or ".") + fraction
        if self.sign_inside:
            return f"{self.before}{sign}{body}{self.after}"
        return f"{sign}{self.before}{body}{self.after}"


def formats_of(entries: Iterable[str]) -> list[NumberFormat]:
    """Return the formats in which all entries are numbers: none for other words, two if they may be read in two ways.

    Entries such as 1,234 alone are read in two ways: the comma may stand between thousands, or before decimals.

    >>> [form.thousands for form in formats_of(["$1,234", "$999"])]
    [',', '']
    >>> [form.decimal for form in formats_of(["1,25", "0,5"])]
    [',']
    """
    bodies, affixes, inside = [], set(), False
    for entry in entries:
        found = _ENTRY.fullmatch(entry.strip())
        if found is None or (found[1] and found[3]):
            return []
        affixes.add((found[2], found[5]))
        if len(affixes) > 1:
            return []
        inside |= bool(found[2] and found[3])
        bodies.append(found[4])
    if not bodies:
        return []
    ((before, after),) = affixes
    formats = {}
    for thousands, decimal in _MARKS:
        pattern = _pattern(thousands, decimal)
        if all(map(pattern.fullmatch, bodies)):
            used = any(thousands in body for body in bodies) * thousands
            point = any(decimal in body for body in bodies) * decimal
            formats[used, point] = NumberFormat(before, after, used, point, _places(bodies, point), inside)
    return list(formats.values())


def _pattern(thousands, decimal):
    whole = rf"(?:0|[1-9]\d{{0,2}}(?:{re.escape(thousands)}\d{{3}})*)" if thousands else r"\d+"
    fraction = rf"(?:{re.escape(decimal)}\d+)?" if decimal else ""
    return re.compile(rf"(?=.?\d)(?:{whole})?{fraction}(?:[eE][-+]?\d+)?")


def _places(bodies, decimal):
    """Return the number of decimals that all entries have, or None."""
    if any("e" in body.lower() for body in bodies):
        return None
    places = {len(body.partition(decimal)[2]) if decimal else 0 for body in bodies}
    return places.pop() if len(places) == 1 else None
