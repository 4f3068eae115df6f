"""A recipe that says what one worker does, for several of them."""

from flowkit.contract.arguments import whole_number
from flowkit.recipes.schema import Recipe


def for_workers(recipe: Recipe, count: int) -> Recipe:
    """The recipe for `count` workers, as Glow's published code has it: each adds a batch of its own to a step.

    `batch_size` times as many, and an epoch that is stated in steps has `ceil(epoch_steps / count)`, so that it sees as
    many images as before. What is stated in epochs follows: the warm-up, and the decay `1 - 1 / steps` of averages and
    of `glow-adamax`. The learning rate stays.

    Raises ValueError if `count` is not a whole number from 1 up.

    >>> from flowkit.recipes import read_recipe
    >>> table = for_workers(read_recipe("glow/cifar10"), 8).training
    >>> table.batch_size, table.epoch_steps
    (512, 98)
    """
    count = whole_number(count, "workers", least=1)
    table = recipe.training
    changes: dict[str, int] = {"batch_size": table.batch_size * count}
    if table.epoch_steps is not None:
        changes["epoch_steps"] = -(-table.epoch_steps // count)
    return recipe.model_copy(update={"training": table.model_copy(update=changes)})
