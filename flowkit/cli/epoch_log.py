"""What a run's log tells of its epochs, and which of them the weights are of that it leaves."""


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


def kept(log, held_out):
    """The row of the epoch whose weights the run leaves; an empty one if the log is lost."""
    if _chosen(held_out):
        return next((row for row in log if row["epoch"] == held_out.best_epoch + 1), {})
    return log[-1] if log else {}


def _chosen(held_out):
    return held_out is not None and held_out.best_weights is not None
