"""The type of a column of categories, and their codes: places in the list of them."""

import math
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import numpy as np

from flowkit.data.entries import absent_of, series_of


@dataclass(frozen=True)
class Category:
    """One of `values`, each a word, a number or True or False; `ordered` ones are coded as whole numbers.

    `shares`: how often each was seen, a missing entry last, from which `Flow.impute` draws. `unseen`: the share of new
    rows whose category is none of these.
    """

    values: tuple[Any, ...]
    ordered: bool = False
    dtype: str = "String"
    missing: bool = False
    shares: tuple[float, ...] = ()
    native: str = ""
    unseen: float = 0.0

    @property
    def coding(self) -> Any:
        # A value alone would have no coordinate: it is given one of two levels, both of which are that value.
        if self.ordered or self.count == 1:
            return ("whole", max(len(self.values), 2))
        return ("category", self.count)

    @property
    def missing_code(self) -> float:
        """Return the code of a missing entry: NaN, or a category more."""
        return math.nan if self.ordered else len(self.values)

    @property
    def count(self) -> int:
        """Return the number of categories, a missing entry among them."""
        return len(self.values) + (self.missing and not self.ordered)

    def codes(self, series: Any) -> np.ndarray:
        """Return codes, NaN for missing entries and infinity for unknown categories."""
        places = {value: place for place, value in enumerate(self.values)}
        entries = zip(series.to_list(), absent_of(series), strict=True)
        codes = [math.nan if gone else places.get(entry, math.inf) for entry, gone in entries]
        return np.asarray(codes, "float64")

    @property
    def expected(self) -> str:
        """Return in words what an entry may be."""
        return f"one of the {len(self.values)} categories of the training data, {self.span}"

    def drawable(self, codes: np.ndarray) -> np.ndarray:
        """Return codes as numbers on an axis, NaN for missing entries."""
        return np.where(codes > len(self.values) - 1, math.nan, codes)

    def entries(self, codes: np.ndarray, library: str) -> Any:
        """Return the column's entries of codes, as a narwhals series without a name."""
        last = len(self.values) - 1
        absent = np.isnan(codes) | (codes > last if self.missing else False)
        places = np.where(absent, 0, np.minimum(np.nan_to_num(codes), last)).astype(int)
        found = [None if gone else self.values[place] for place, gone in zip(places, absent, strict=True)]
        if self.dtype == "Enum":
            return nw.new_series("", found, nw.String(), backend=library).cast(nw.Enum(self.values))
        series = series_of(found, self, library)
        if self.native != "category":
            return series
        return nw.from_native(series.to_native().cat.set_categories(self.values), series_only=True)

    def proposals(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        """Return codes of categories, each drawn as often as it was seen."""
        shares = np.asarray(self.shares[:-1])
        return rng.choice(len(shares), size=shape, p=shares / shares.sum()).astype("float64")

    def proposed(self, codes: np.ndarray) -> np.ndarray:
        """Return which codes are among those that `proposals` draws."""
        return codes < len(self.values)

    def log_share(self, codes: np.ndarray) -> np.ndarray:
        """Return the logarithm of the probability of `proposals`, but for a constant."""
        return np.log(np.maximum(np.asarray(self.shares), 1e-12))[codes.astype(int)]

    def features(self, codes: np.ndarray) -> list[np.ndarray]:
        """Return what networks see of codes that are a context: 1 for the category and 0 for each other.

        For infinity, an unknown category, it is how often each was seen.
        """
        codes = np.where(np.isnan(codes), len(self.values), codes)
        shares = np.asarray(self.shares[: len(self.values) + self.missing])
        return [
            np.where(np.isinf(codes), shares[place] / shares.sum(), codes == place)
            for place in range(len(shares))
        ]

    @property
    def span(self) -> str:
        words = [str(value) for value in self.values]
        return ", ".join(words[:4]) + (", ..." if len(words) > 4 else "")

    @property
    def word(self) -> str:
        return "ordered" if self.ordered else "category" if len(self.values) > 1 else "constant"
