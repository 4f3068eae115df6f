"""The optimizer of a recipe's [training]."""

import warnings

from flowkit import training
from flowkit.app.failure import RecipeError
from flowkit.app.schema import Recipe, optimizers


def build_optimizer(recipe: Recipe, steps_per_epoch: int) -> training.GuardedOptimizer:
    """Return the recipe's optimizer: schedule, clipping and averaging, guarded against bad steps."""
    table = recipe.training
    decay = _polyak_decay(table, steps_per_epoch)
    ema = decay if table.ema is None else table.ema
    _note_long_averages(ema, table.epochs * steps_per_epoch)
    arguments = {"global_clipnorm": table.clip_norm, "use_ema": ema > 0, "ema_momentum": ema or 0.99}
    if table.optimizer == "glow-adamax" and decay:
        arguments["beta_2"] = decay
    rate = _schedule(table, steps_per_epoch)
    return training.GuardedOptimizer(optimizers()[table.optimizer](rate, **arguments))


def _schedule(table, steps_per_epoch):
    total = table.epochs * steps_per_epoch
    warmup = table.warmup_steps or round(table.warmup_epochs * steps_per_epoch)
    if table.schedule == "constant":
        return training.WarmUp(table.learning_rate, warmup_steps=warmup)
    if total <= warmup:  # a folder of few images
        key = "warmup_steps" if table.warmup_steps else "warmup_epochs"
        warnings.warn(
            f"training.{key} = {getattr(table, key)} is {warmup} steps, but the whole run has {total}: the "
            f"warm-up takes {total // 10} instead",
            stacklevel=2,
        )
        warmup = total // 10
    return training.WarmUpCosine(table.learning_rate, warmup_steps=warmup, total_steps=total)


def _note_long_averages(ema, total):
    """Warn if averaged weights, which are scored and sampled, would hold much of the first ones."""
    reach = 1 / (1 - ema)
    if ema and reach > total / 5:
        warnings.warn(
            f"averaged weights, which are scored and sampled, reach back {reach:.0f} steps, more than a fifth of the "
            f"whole run's {total}: they will be worse than the last weights, which --set training.ema=0 takes. "
            "More --epochs or a smaller training.batch_size make more steps",
            stacklevel=2,
        )


def _polyak_decay(table, steps_per_epoch):
    """Return 1 - 1 / (the steps in `polyak_epochs` epochs), or 0 without them."""
    if table.polyak_epochs is None:
        return 0.0
    steps = steps_per_epoch * table.polyak_epochs
    if not 1 < steps < 2**24:
        raise RecipeError(
            f"training.polyak_epochs = {table.polyak_epochs}, which is {steps:g} steps: expected more than one, and "
            "fewer than float32 can tell from a decay of 1"
        )
    return 1 - 1 / steps
