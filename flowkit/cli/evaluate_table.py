"""`flowkit evaluate` of a table: nats on rows that the flow was not trained on, the test rows or another file's."""

from dataclasses import replace

from flowkit import data, recipes
from flowkit.cli.failure import CommandError
from flowkit.cli.table_run import in_order, log_prob
from flowkit.flows.context import context_kind


def in_words(flow, table, held_out):
    """The line that tells the mean log-likelihood of what `rows` has given, and what it is."""
    mean, error = log_prob(flow, table)
    test = "test " if held_out else ""
    return f"{test}log-likelihood {mean:.4f} +- {error:.4f} nats  ({table.name}, {len(table)} rows)"


def rows(folder, flow, source):
    """(the rows to score, whether they are the test rows of the data that the flow was trained on).

    Those, wherever they lie now; of other data all rows, unless their file has test rows of its own.
    """
    if context_kind(flow) == "required":
        raise CommandError(
            "the flow reads a context, which is no column of its table: flow.log_prob(x, context) takes one"
        )
    if not folder.has_recipe():
        if source is None:
            raise CommandError(
                "a flow alone does not say what data it is of: --data SOURCE gives a table that it was not trained on"
            )
        return data.load_table(source, "test", cut=False), False
    recipe = folder.recipe(source)
    its_own = source is None or recipe.data.source == folder.recipe().data.source
    if its_own or _same_data(folder, flow, recipe):
        return recipes.load_table(recipe, "test"), True
    return recipes.load_other_table(recipe), False


def _same_data(folder, flow, recipe):
    """Whether `recipe` names the rows that the flow was trained on, or may do so: older runs have kept no sum."""
    trained_on = folder.data_sha256()
    if trained_on is None:
        return True
    splits = ["train", *(["validation"] if recipe.data.validation else []), "test"]
    try:
        tables = [_as_trained_on(flow, recipes.load_table(recipe, split)) for split in splits]
    except ValueError:  # fewer rows than can be cut as those were
        return False
    return trained_on == data.content_hash(*tables)


def _as_trained_on(flow, table):
    """The same table, its columns in the order of the flow's, if they are those."""
    if flow.columns is None or table.names is None or set(table.names) != set(flow.columns.names):
        return table
    return replace(table, values=in_order(flow, table), names=flow.columns.names)
