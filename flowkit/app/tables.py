"""Tables: what recipes, runs and flows of rows do in their own way. `Images` has the same methods."""

import dataclasses
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from flowkit import data, distributed, training, zoo
from flowkit.app.failure import RecipeError
from flowkit.app.images import mean_and_error
from flowkit.data.dataset import split_rows
from flowkit.data.frame import is_frame
from flowkit.data.table import SUFFIXES, coded_rows, read_frame, read_numbers, read_table, typed_columns
from flowkit.data.typed_columns import refuse, require_columns, wrong_entry
from flowkit.flow import inputs, scoring
from flowkit.plots import types_of
from flowkit.tables import TableFlow, table_flow
from flowkit.tables.fit import FEW, SMALL

_NAMES = 6  # of columns, in a message
_DRAWS = 20_000  # of the base density, for its quantiles
_LATENTS = 256  # rows whose latents a --log shows
_COLUMNS = 8  # of a table that is not here
_BATCH, _BATCHES = 256, 8  # rows in a batch, and the fewest batches in an epoch, for the recipe `table`


class Tables:
    """A recipe or a flow of the rows of a table: of numbers, or a mixed one, whose columns have types."""

    rows, samples = "rows", "samples.csv"
    score, in_print = "log_prob", "log-likelihood"
    logged, sign = "loss", -1
    unit, ylabel = " nats", "-log p(x), nats"

    # [data] and [model]

    def load(self, recipe, split):
        """Return "train" or "test", "train" with what is held out of it."""
        table = recipe.data
        if not has_types(recipe):
            return data.load_table(table.source, split, limit=table.limit)
        frame = read_frame(table.source)
        split_rows(len(frame), split, Path(table.source))  # raises for too few rows
        try:
            if table.columns is not None:
                require_columns("columns", table.columns, frame.columns)
                kept = {*table.columns, *table.given}
                frame = frame[[name for name in frame.columns if name in kept]]
            columns, given = typed_columns(frame, table.types or {}, table.given, table.drop)
        except ValueError as error:
            raise RecipeError(f"{table.source}: {error}") from error
        rows, wrong = coded_rows(frame, columns, given, table.source)
        refuse(wrong, f"{table.source}: ")
        return _cut(rows, split, table.limit)

    def trimmed(self, recipe, table):
        """Return the table as it is."""
        return table

    def make(self, recipe, table, given):
        """Return a flow with arguments given in [model], and with those that follow from the data, if they are here."""
        family, domains = zoo.ARCHITECTURES[recipe.model["name"]], given.get("domains")
        if table is None:
            if isinstance(domains, dict):  # by name of columns that are not here
                given, domains = given | {"domains": None}, None
            return family(**given, features=len(domains or range(_COLUMNS)))
        if table.typed is not None:
            return table_flow(table.typed, table.given, model=recipe.model["name"], **given)
        return family(**given, features=table.names or table.values.shape[1])

    def inferred(self, source):
        """Return {key: value} of the recipe `table` by its data."""
        mixed = Path(source).suffix.lower() in SUFFIXES
        rows = len(read_frame(source) if mixed else data.load_table(source))
        small = {f"model.{name}": value for name, value in SMALL.items()} if rows < FEW else {}
        return {"training.batch_size": max(1, min(_BATCH, rows // _BATCHES)), **small}

    # [training]

    def to_train(self, recipe, flow, train):
        """Return (rows, what they are conditioned on, no augmentation)."""
        context = None if train.context is None else train.context.astype(flow.compute_dtype)
        return train.values.astype(flow.compute_dtype), context, None

    def adapt(self, recipe, flow, train, *others):
        """Adapt the flow to all rows, and check all others: not only in the epoch that comes to them."""
        try:
            context = None if train.context is None else distributed.mine(train.context)
            flow.adapt(distributed.mine(train.values), context)
            for table in others:
                inputs.checked_data(flow, *self.given(flow, table))
        except ValueError as error:
            raise RecipeError(f"{train.name}: {error}") from error

    def pictures(self, experiment, folder):
        """Return no callbacks: pairs of columns are drawn at the end."""
        return []

    def live(self, experiment):
        """Return the arguments of `training.Log` that show rows."""
        return {"of": "rows", "latents": experiment.test.values[:_LATENTS]}

    def drawn(self, experiment):
        """Return None: pictures need no other process."""

    def draw(self, experiment, folder, flow, drawn):
        """Save pairs of columns of data and samples; quantiles of the latents and of the density they should have."""
        sampling, test = experiment.recipe.sampling, experiment.test
        if sampling.count:
            how = {"temperature": sampling.temperature, "seed": 0}
            if test.context is None:
                samples = flow.sample(sampling.count, **how)
                samples = flow.columns.values(samples) if is_frame(samples) else samples
            else:
                samples = flow.sample(1, test.context[: sampling.count], **how)[0]
            training.save_pairs(folder.pairs, test.values, samples, test.names, types_of(flow))
            print(f"pairs {folder.pairs}")
        latents = flow.encode(test.values, test.context)
        base = flow.base.sample((_DRAWS, *latents.shape[1:]), seed=keras.random.SeedGenerator(0))
        training.save_quantiles(folder.path / "quantiles.png", latents, keras.ops.convert_to_numpy(base))

    def more_metrics(self, experiment, flow):
        """Return what metrics.json says of tables alone: the number of columns, and how the file writes its cells."""
        metrics = {"columns": experiment.train.values.shape[1]}
        if isinstance(flow, TableFlow):
            file = read_table(experiment.recipe.data.source)
            cells = {name: dataclasses.asdict(form) for name, form in file.cell_formats().items()}
            metrics["written"] = {"delimiter": file.delimiter, "cells": cells}
        return metrics

    # A trained flow and data

    def of_source(self, flow, source, split, *, limit=None):
        """Return the table `source`; of a mixed one its first `limit` rows, in the codes of the flow's columns."""
        if not isinstance(flow, TableFlow):
            return data.load_table(source, split, limit=limit)
        table, wrong = self.rows_of(flow, source)
        refuse(wrong, f"{source}: ")
        return _cut(table, split, limit)

    def rows_of(self, flow, source):
        """Return (all rows of `source` as the flow takes them, {row: its first wrong entry, in words})."""
        if isinstance(flow, TableFlow):
            known = flow.columns, flow.context_columns
            return coded_rows(read_frame(source, known), *known, str(source))
        table, entries = read_numbers(source, "test", cut=False)
        table, wrong = self.ordered(flow, table), {}
        for row, entry in entries:
            wrong.setdefault(row, entry)
        domain = flow.bijector.spec.domain
        names = table.names or range(table.values.shape[1])
        for row, place in np.argwhere(inputs.outside(table.values, domain)).tolist():
            expected = f"one in {domain if domain.columns is None else domain.columns[place]}"
            entry = f"{table.values[row, place]:.10g}"
            wrong.setdefault(row, wrong_entry(entry, names[place], row, expected))
        return table, wrong

    def file_of(self, flow, source):
        """Return the mixed table `source` as a `TableFile`; None for a flow of numbers."""
        known = flow.columns, getattr(flow, "context_columns", None)
        return read_table(source, known) if isinstance(flow, TableFlow) else None

    def scored(self, flow, source, file, samples):
        """Return (log-likelihoods of the rows of `source`, {row: its wrong entry} of those with -inf).

        `file`: what `file_of` returns.
        """
        if file is not None:
            return flow.scored(*flow.split(file.frame[columns_read(flow)]), samples=samples)
        table, wrong = self.rows_of(flow, source)
        scores, right = np.full(len(table), -np.inf), np.setdiff1d(np.arange(len(table)), list(wrong))
        if len(right):
            scores[right] = flow.log_prob(table.values[right], samples=samples)
        return scores, wrong

    def given(self, flow, table):
        """Return (entries in the order of the flow's columns, what it is conditioned on or None)."""
        return self.ordered(flow, table).values, table.context

    def ordered(self, flow, table):
        """Return the table with its columns in the flow's order; raise a RecipeError for another table."""
        if table.typed is not None:
            return table
        columns, names = table.values.shape[1], flow.columns and flow.columns.names
        named = names is not None and table.names is not None
        if (columns,) != tuple(flow.event_shape) or (named and set(table.names) != set(names)):
            expected = (
                f"{flow.event_shape[0]} columns" if names is None else ", ".join(map(str, names[:_NAMES]))
            )
            raise RecipeError(
                f"{table.name}: got {columns} columns, expected those that the flow was trained on: {expected}"
            )
        if not named:
            return table
        places = [table.names.index(name) for name in names]
        return replace(table, values=table.values[:, places], names=names)

    def outside(self, flow, source):
        """Return (rows of another kind, None)."""
        return self.given(flow, self.of_source(flow, source, "test"))

    def mean_score(self, flow, x, context, samples=1):
        """Return the mean log-likelihood in nats, and its standard error; each process scores its part."""
        unseen = flow.columns.log_seen if isinstance(flow, TableFlow) else 0.0
        return mean_and_error(unseen - scoring.score_in_a_group(flow, x, context, samples)[1])


def columns_read(flow):
    """Return the names of the columns that a flow of a mixed table models or is conditioned on."""
    return [name for columns in (flow.columns, flow.context_columns) if columns for name in columns.names]


def has_types(recipe):
    """Return True if columns of the recipe's table have types: `data.types`."""
    table, name = recipe.data, recipe.model["name"]
    asked = bool(table.types or table.given or table.drop or table.columns)
    misfit = None
    if name not in zoo.VECTORS:
        misfit = (
            f"got {name}, expected a family of mixed tables, such as nsf. Leave them out for columns of real "
            "numbers"
        )
    elif recipe.model.get("domains") is not None or Path(table.source).suffix.lower() not in SUFFIXES:
        misfit = "expected a .csv, .tsv or .parquet file, and no model.domains"
    if asked and misfit:
        raise RecipeError(f"data.types, columns, drop and given: {misfit}")
    return asked or (table.types is not None and misfit is None)


def _cut(table, split, limit):
    return table.take(split_rows(len(table), split, Path(table.name))[:limit])
