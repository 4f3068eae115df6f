"""What a run's log tells of its epochs, and which of them the weights are of that it leaves."""

import math

from flowkit import data
from flowkit.cli.info import facts


def curves(log, name, held_out):
    """(epochs, curve -> values) of the metric `name`, as `training.save_curves` takes them."""
    named = {"train": name} | ({} if held_out is None else {"validation": f"val_{name}"})
    return [row["epoch"] for row in log], {
        curve: [row.get(key) for row in log] for curve, key in named.items()
    }


def told(recipe, log, held_out):
    """What metrics.json says of epochs: how many there were, and the one that is kept if it was chosen."""
    numbers = {"epochs": log[-1]["epoch"] if log else recipe.training.epochs}
    return numbers | ({"kept_epoch": held_out.best_epoch + 1} if _chosen(held_out) else {})


def of_the_run(experiment, flow, log, progress, rows):
    """What metrics.json says of a run on whatever data; `rows` is the word for what the data are many of."""
    return {
        "data": experiment.test.name,
        "data_sha256": data.content_hash(*experiment.splits),
        "skipped_steps": sum(row.get("skipped") or 0 for row in log),
        "parameters": sum(math.prod(w.shape) for w in flow.trainable_weights),
        "seconds": round(sum(row.get("seconds") or 0 for row in log), 3),
        f"{rows}_per_second": round(progress.images_per_second, 1),
        "first_step_seconds": progress.first_step and round(progress.first_step, 3),
        **facts(),
        "precision": experiment.recipe.training.precision,
    }


def kept(log, held_out):
    """The row of the epoch whose weights the run leaves; an empty one if the log is lost."""
    if _chosen(held_out):
        return next((row for row in log if row["epoch"] == held_out.best_epoch + 1), {})
    return log[-1] if log else {}


def _chosen(held_out):
    return held_out is not None and held_out.best_weights is not None
