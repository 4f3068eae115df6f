"""`flowkit evaluate`: bits per dimension on images that were not trained on; of tables, nats on such rows."""

import math

from rich.console import Console
from rich.table import Table

from flowkit import distributed, recipes
from flowkit.bijectors.levels import find_levels
from flowkit.cli import evaluate_table
from flowkit.cli.failure import CommandError
from flowkit.cli.group import alike
from flowkit.cli.mean_and_error import mean_and_error
from flowkit.cli.trained import trained_in_all
from flowkit.distributed.failed import naming_the_lost
from flowkit.evaluation.levels import level_bits_in_a_group


def run(path, *, source, samples, levels):
    with naming_the_lost():
        folder = trained_in_all(path)
        flow, rows, of = alike(lambda: _asked(folder, source, samples, levels))
        if of_tables(flow):
            told, table = evaluate_table.in_words(flow, rows, of), None
        else:
            mean, error = bits_per_dim(flow, rows, of, samples=samples)
            draws = "1 draw of noise" if samples == 1 else f"{samples} draws of noise"
            told = f"test bits/dim {mean:.4f} +- {error:.4f}  ({rows.name}, {len(rows)} images, {draws} each)"
            table = level_table(flow, rows, of) if levels else None
    if distributed.is_main():
        print(told)
        if table is not None:
            Console().print(table)


def _asked(folder, source, samples, levels):
    """(the flow, what to score, and of tables whether they are test rows, of images how many classes or None)."""
    flow = folder.load_flow()
    if of_tables(flow):
        _refuse_options_of_images(samples, levels)
        return flow, *evaluate_table.rows(folder, flow, source)
    recipe = folder.recipe(source)
    dataset = recipes.load_data(recipe, "test")
    check_fits(flow, dataset)
    return flow, dataset, recipe.model.get("num_classes")


def of_tables(flow):
    """Whether a flow is one of rows of a table, and not of stored images."""
    return flow.dequantize is None and len(flow.event_shape) == 1


def _refuse_options_of_images(samples, levels):
    if samples != 1 or levels:
        option = "--levels" if levels else "--samples"
        raise CommandError(
            f"{option}: the flow is one of tables, whose likelihood is exact and comes in one piece"
        )


def bits_per_dim(flow, dataset, classes, *, samples=1):
    """The mean over images, of which each process scores its part, and its standard error s / sqrt(n)."""
    check_fits(flow, dataset)
    kind, bits = flow._score_in_a_group(dataset.images, _context(dataset, classes), samples=samples)
    if kind == "nll":  # in nats for each image
        bits = bits / (math.prod(flow.event_shape) * math.log(2))
    return mean_and_error(bits)


def check_fits(flow, dataset):
    """Raise a CommandError if the flow was trained on images of another kind."""
    stored = flow.dequantize.stored_levels if flow.dequantize is not None else None
    if stored is not None and dataset.levels != stored:
        raise CommandError(
            f"{dataset.name} has {dataset.levels} levels, the flow was trained on {stored}, so bits/dim would mean "
            f"something else: give images of {stored} levels, or train another flow on these, `flowkit train RECIPE "
            "--data`"
        )
    received, expected = dataset.images.shape[1:], tuple(flow.event_shape)
    if received != expected:
        received, expected = ("x".join(map(str, shape)) for shape in (received, expected))
        raise CommandError(
            f"{dataset.name} has images of {received}, the flow was trained on {expected}: give images of that "
            "size, or train another flow on these, `flowkit train RECIPE --data`"
        )


def level_table(flow, dataset, classes):
    """What each level carries of the bits/dim of one draw of noise; the rows add up to the last one.

    Each process scores its part of the images.
    """
    events = find_levels(flow.bijector, "--levels")[1].latent_events
    bits = level_bits_in_a_group(flow, dataset.images, _context(dataset, classes))
    size = math.prod(flow.event_shape)
    table = Table("level", "latents", "of all", "bits/dim", "bits/latent", title="What each level carries")
    for column in table.columns[1:]:
        column.justify = "right"
    for level, (event, column) in enumerate(zip(events, bits.T, strict=True)):
        mean, error = mean_and_error(column)
        share = math.prod(event) / size
        shape = " x ".join(map(str, event))
        table.add_row(str(level), shape, f"{share:.1%}", f"{mean:.4f} +- {error:.4f}", f"{mean / share:.3f}")
    table.add_section()
    mean, error = mean_and_error(bits.sum(axis=1))
    table.add_row("all", f"{size}", "100.0%", f"{mean:.4f} +- {error:.4f}", f"{mean:.3f}")
    return table


def _context(dataset, classes):
    return None if classes is None else dataset.labels
