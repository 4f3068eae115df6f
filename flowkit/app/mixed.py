"""Mixed tables, whose columns have types: what their recipes, runs and flows do in their own way."""

import functools
import importlib.util
from pathlib import Path

import numpy as np

from flowkit import tables
from flowkit.app.failure import RecipeError
from flowkit.app.tables import Tables
from flowkit.data.bounded import MAX_BYTES
from flowkit.data.dataset import split_rows
from flowkit.data.mixed_table import SUFFIXES, coded, read_frame, right_rows, typed_columns
from flowkit.data.typed_columns import require_columns


class MixedTables(Tables):
    """A recipe or a flow of the rows of a mixed table."""

    codes = True

    @staticmethod
    def takes(recipe):
        """Return True if columns of the recipe's table have types: `data.types`, and polars to read them."""
        table = recipe.data
        asked = bool(table.types or table.given or table.drop or table.columns)
        if table.types is None and not asked:
            return False
        if recipe.model.get("domains") is not None or Path(table.source).suffix.lower() not in SUFFIXES:
            if asked:
                raise RecipeError(
                    "data.types, columns, drop and given: expected a .csv, .tsv or .parquet file, and no model.domains"
                )
            return False
        return asked or importlib.util.find_spec("polars") is not None

    def load(self, recipe, split, *, cut=True):
        """Return "train" or "test", "train" with what is held out of it; without `cut` all rows."""
        table = recipe.data
        frame = _frame(table.source, table.max_bytes)
        drop = list(table.drop)
        if table.columns is not None:
            kept = {*table.columns, *table.given}
            drop += [name for name in frame.columns if name not in kept and name not in drop]
        try:
            require_columns("columns", table.columns or (), frame.columns)
            if both := [name for name in table.columns or () if name in table.given]:
                raise ValueError(
                    f"got column {both[0]!r} in columns and in given, expected it in one of them."
                )
            columns, given = typed_columns(frame, table.types or {}, table.given, drop)
        except ValueError as error:
            raise RecipeError(f"{table.source}: {error}") from error
        return _cut(right_rows(frame, columns, given, str(table.source)), split, cut, table.limit)

    def family(self, name, table):
        """Return the function that makes a flow."""
        if table is None:
            return super().family(name, table)
        return functools.partial(tables.table_flow, table.typed, table.given, model=name)

    def arguments(self, recipe, table, given):
        """Return the arguments of that function."""
        return given if table is not None else super().arguments(recipe, table, given)

    def of_source(self, flow, source, split, *, cut=True, limit=None, max_bytes=MAX_BYTES):
        """Return the table `source`, its first `limit` rows, in the codes of the flow's columns."""
        known = flow.columns, flow.context_columns
        table = right_rows(_frame(source, max_bytes, known=known), *known, str(source))
        return _cut(table, split, cut, limit)

    def to_score(self, flow, source):
        """Return (the table `source` in the codes of the flow's columns, {row: a wrong entry})."""
        known = flow.columns, flow.context_columns
        return coded(_frame(source, MAX_BYTES, known=known), *known, str(source))

    def given(self, flow, table):
        """Return (codes, what the flow is conditioned on or None)."""
        return table.values, table.context


def _frame(source, max_bytes, known=()):
    path = Path(source)
    if not path.is_file():
        raise FileNotFoundError(f"{source}: expected a .csv, .tsv or .parquet file, found none.")
    return read_frame(path, max_bytes, known=known)


def _cut(table, split, cut, limit):
    table = table.take(split_rows(len(table), split, Path(table.name))) if cut else table
    return table if limit is None else table.take(np.arange(min(limit, len(table))))
