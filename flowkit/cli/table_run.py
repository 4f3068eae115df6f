"""What comes of a run on a table: numbers in nats, and pictures of columns."""

import csv
import math

import keras
import numpy as np

from flowkit import training
from flowkit.cli import epoch_log, positive_columns
from flowkit.cli.failure import FAILED, CommandError, say
from flowkit.cli.mean_and_error import mean_and_error
from flowkit.training.atomic import atomic_path

_NAMES = 6  # of columns, that an error may show
_DRAWS = 20_000  # of the base density, for its quantiles


def log_prob(flow, table):
    """The mean log-likelihood of the rows in nats, and its standard error s / sqrt(n); each process scores its part."""
    if table.values.shape[1:] != tuple(flow.event_shape):
        named = "" if flow.columns is None else f" ({', '.join(map(str, flow.columns.names[:_NAMES]))})"
        raise CommandError(
            f"{table.name} has {table.values.shape[1]} columns, the flow was trained on {flow.event_shape[0]}{named}: "
            "give a table of those, or train another flow on this one, `flowkit train RECIPE --data`"
        )
    return mean_and_error(-flow._score_in_a_group(in_order(flow, table))[1])


def in_order(flow, table):
    """The table's numbers in the order of the flow's columns, if both have names."""
    if flow.columns is None or table.names is None or table.names == flow.columns.names:
        return table.values
    if set(table.names) != set(flow.columns.names):
        others = ", ".join(map(repr, sorted(set(table.names) ^ set(flow.columns.names), key=str)[:6]))
        raise CommandError(
            f"{table.name} has other columns than the flow was trained on: {others} are in one alone"
        )
    places = {name: place for place, name in enumerate(table.names)}
    return table.values[:, [places[name] for name in flow.columns.names]]


def finish(experiment, folder, flow, progress, held_out, scores):
    """Save the flow, its pictures and its numbers, `scores` among them."""
    recipe, train, test = experiment.recipe, experiment.train, experiment.test
    folder.save_flow(flow)
    log = training.read_log(folder.log)
    if not log:
        say(f"note: {folder.log} holds no epochs: its curve and numbers are left out")
    training.save_curves(folder.curves, *epoch_log.curves(log, "nll", held_out), ylabel="-log p(x), nats")
    nll, error = scores["test"]
    told, loss = epoch_log.told(recipe, log, held_out), epoch_log.kept(log, held_out).get("nll")
    if held_out is not None:
        validation, told["validation_standard_error"] = scores["validation"]
        told["validation_log_prob"] = -validation
        told["validation_rows"] = len(experiment.validation)
    folder.save_metrics(
        {
            "test_log_prob": -nll,
            "test_standard_error": error,
            "test_rows": len(test),
            **told,
            "train_log_prob": None if loss is None else -loss,
            "train_rows": len(train),
            "columns": train.values.shape[1],
            **epoch_log.of_the_run(experiment, flow, log, progress, "rows"),
        }
    )
    print(f"test log-likelihood {-nll:.4f} +- {error:.4f} nats")
    _draw(recipe, folder, flow, train, test)
    if recipe.sampling.count:
        print(f"pairs {folder.pairs}")
    if not math.isfinite(nll):
        raise CommandError(
            f"{folder.path} has diverged: its test log-likelihood is {-nll}; train anew with a smaller learning "
            "rate, a longer warm-up or a clip_norm",
            FAILED,
        )


def _draw(recipe, folder, flow, train, test):
    """Pairs of columns of data and samples; quantiles of the latents and of the density that they should have."""
    sampling = recipe.sampling
    if sampling.count:
        samples = flow.sample(sampling.count, temperature=sampling.temperature, seed=0)
        samples = np.asarray(samples)  # of a frame
        training.save_pairs(folder.pairs, test.values, samples, test.names)
        if told := positive_columns.hint(recipe, train.values, samples, test.names):
            say(told)
    base = flow.base.sample((_DRAWS, *flow.event_shape), seed=keras.random.SeedGenerator(0))
    training.save_quantiles(folder.quantiles, flow.encode(test.values), keras.ops.convert_to_numpy(base))


def save_samples(path, samples, names):
    """Write a table as .csv, its names in the first line, in a single step."""
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        if names is not None:
            writer.writerow(names)
        samples = np.asarray(samples)
        digits = 9 if samples.dtype == "float32" else 17  # as many as tell its numbers apart
        writer.writerows([f"{number:.{digits}g}" for number in row] for row in samples)
