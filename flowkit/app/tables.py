"""Tables: what recipes, runs and flows of rows do in their own way. `Images` has the same methods."""

import inspect
import json
from dataclasses import replace

import keras
import numpy as np

from flowkit import data, distributed, training, zoo
from flowkit.app.failure import RecipeError, say
from flowkit.app.images import mean_and_error
from flowkit.data.frame import is_frame
from flowkit.data.typed_columns import WrongEntry
from flowkit.flow import prepare, scoring
from flowkit.flow.context import context_kind
from flowkit.flow.plotting import types_of
from flowkit.zoo.table_front import each_domain

_OF_IMAGES = ("size", "channels", "crop", "augment")  # keys of [data] that say nothing of a table
_NAMES = 6  # of columns, in a message
_DRAWS = 20_000  # of the base density, for its quantiles
_LATENTS = 256  # rows whose latents a --log shows
_COLUMNS = 8  # of a table that is not here


class Tables:
    """A recipe or a flow of the rows of a table."""

    rows, samples = "rows", "samples.csv"
    codes = False  # whether its numbers stand for entries of other types
    score, in_print = "log_prob", "log-likelihood"
    logged, sign = "loss", -1
    unit, ylabel = " nats", "-log p(x), nats"

    @staticmethod
    def takes(recipe):
        """Return True if the recipe's model takes rows."""
        takes = inspect.signature(zoo.ARCHITECTURES[recipe.model["name"]]).parameters
        return "input_shape" not in takes

    # [data] and [model]

    def load(self, recipe, split, *, cut=True):
        """Return "train" or "test", "train" with what is held out of it.

        Without `cut`: all rows of a file without splits of its own.
        """
        table, model = recipe.data, recipe.model["name"]
        for key in _OF_IMAGES:
            if value := getattr(table, key):
                raise RecipeError(
                    f"data.{key}: expected none for {model}, which takes tables, received {value!r}"
                )
        return data.load_table(table.source, split, cut=cut, limit=table.limit, max_bytes=table.max_bytes)

    def trimmed(self, recipe, table):
        """Return the table as it is."""
        return table

    def family(self, name, table):
        """Return the zoo function of that name."""
        return zoo.ARCHITECTURES[name]

    def arguments(self, recipe, table, given):
        """Return the arguments of the zoo function: those given in [model], and what the data say, if they are here."""
        domains = given.get("domains")
        if table is None:
            if isinstance(domains, dict):  # by name of columns that are not here
                given = {key: value for key, value in given.items() if key != "domains"}
            return {**given, "features": len(domains) if isinstance(domains, list) else _COLUMNS}
        return {**given, "features": table.names or table.values.shape[1]}

    # [training]

    def check(self, recipe, flow, train, held_out, test):
        """Raise a RecipeError if the rows to test with could not be scored."""
        self.given(flow, test)

    def batches(self, recipe, flow, train):
        """Return batches of rows."""
        table = recipe.training
        x = train.values.astype(flow.compute_dtype)
        context = None if train.context is None else train.context.astype(flow.compute_dtype)
        how = {"batch_size": table.batch_size, "epoch_steps": table.epoch_steps, "seed": table.seed}
        return data.batches(x, context, **how)

    def adapt(self, recipe, flow, train, *others):
        """Adapt the flow to all rows, and check all others: not only in the epoch that comes to them."""
        for table in (train, *others):
            try:
                if table is train:
                    context = None if table.context is None else distributed.mine(table.context)
                    flow.adapt(distributed.mine(table.values), context)
                elif table is not None:
                    prepare.checked(flow, table.values, table.context)
            except ValueError as error:
                raise RecipeError(f"{table.name}: {error}") from error

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
        sampling, train, test = experiment.recipe.sampling, experiment.train, experiment.test
        if sampling.count:
            how = {"temperature": sampling.temperature, "seed": 0}
            if test.context is None:
                samples = flow.sample(sampling.count, **how)
                samples = flow.columns.values(samples) if is_frame(samples) else samples
            else:
                samples = flow.sample(1, test.context[: sampling.count], **how)[0]
            training.save_pairs(folder.pairs, test.values, samples, test.names, types_of(flow))
            hint = (
                None if self.codes else positive_columns(experiment.recipe, train.values, samples, test.names)
            )
            if hint:
                say(hint)
            print(f"pairs {folder.pairs}")
        latents = flow.encode(test.values, test.context)
        base = flow.base.sample((_DRAWS, *latents.shape[1:]), seed=keras.random.SeedGenerator(0))
        training.save_quantiles(folder.path / "quantiles.png", latents, keras.ops.convert_to_numpy(base))

    def more_metrics(self, experiment, flow):
        """Return what metrics.json says of tables alone."""
        return {"columns": experiment.train.values.shape[1]}

    # A trained flow and data

    def of_source(self, flow, source, split, *, cut=True):
        """Return the table `source`."""
        return data.load_table(source, split, cut=cut)

    def to_score(self, flow, source):
        """Return (the table `source`, {row: a wrong entry} of its rows outside of the domains of the flow's columns).

        Such a row has the numbers of a right one.
        """
        table = self.of_source(flow, source, "test", cut=False)
        x, domain = self.given(flow, table)[0].copy(), flow.bijector.spec.domain
        outside = prepare.outside(x, domain)
        names = flow.columns.names if flow.columns else range(x.shape[1])
        wrong = {}
        for row, place in reversed(np.argwhere(outside).tolist()):
            expected = f"one in {domain if domain.columns is None else domain.columns[place]}"
            wrong[row] = WrongEntry(names[place], f"{x[row, place]:.10g}", expected)
        if len(wrong) < len(x):
            x[list(wrong)] = x[~outside.any(axis=1)][:1]
        return replace(table, values=x, names=flow.columns and flow.columns.names), wrong

    def given(self, flow, table):
        """Return (numbers in the order of the flow's columns, None); raise a RecipeError for another table."""
        if context_kind(flow) == "required":
            raise RecipeError(
                "the flow reads a context, which is no column of its table: flow.log_prob(x, context) takes one"
            )
        columns, names = table.values.shape[1], flow.columns and flow.columns.names
        if (columns,) != tuple(flow.event_shape):
            named = f" ({', '.join(map(str, names[:_NAMES]))})" if names else ""
            raise RecipeError(
                f"{table.name} has {columns} columns, the flow was trained on {flow.event_shape[0]}{named}: give a "
                "table of those, or train another flow on this one, `flowkit train RECIPE --data`"
            )
        if names is None or table.names is None or table.names == names:
            return table.values, None
        if others := set(table.names) ^ set(names):
            others = ", ".join(map(repr, sorted(others, key=str)[:_NAMES]))
            raise RecipeError(
                f"{table.name} has other columns than the flow was trained on: {others} are in one alone"
            )
        places = {name: place for place, name in enumerate(table.names)}
        return table.values[:, [places[name] for name in names]], None

    def outside(self, flow, source):
        """Return (rows of another kind, None)."""
        return self.given(flow, self.of_source(flow, source, "test"))

    def mean_score(self, flow, table, samples=1):
        """Return the mean log-likelihood in nats, and its standard error; each process scores its part."""
        return mean_and_error(-scoring.score_in_a_group(flow, *self.given(flow, table), samples)[1])


def positive_columns(recipe, rows, samples, names):
    """Return a line about columns that are positive in the data and not in the samples, and how to keep them there.

    None if there are none, or the model has no `domains`. A column whose domain the recipe gives is as intended.
    """
    if "domains" not in recipe.model:
        return None
    given = recipe.model["domains"] or {}
    domains = each_domain(given, rows.shape[1], names or ())
    below = (rows.min(axis=0) > 0) & (np.asarray(samples) <= 0).any(axis=0)
    places = [place for place in np.flatnonzero(below).tolist() if domains[place] == "real"]
    if not places:
        return None
    columns = [place if names is None else names[place] for place in places]
    listed = ", ".join(f'{json.dumps(str(column))} = "positive"' for column in columns)
    cure = (
        f"add {listed} to model.domains" if given else f"--set 'model.domains={{{listed}}}' keeps them there"
    )
    shown = ", ".join(map(repr, columns[:_NAMES]))
    return f"note: all data are above 0 in column {shown}, and some samples are not: {cure}"
