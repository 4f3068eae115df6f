"""The published command lines for several workers: batch, epoch, warm-up and averaging."""

import pytest

from flowkit.app.experiment import build_optimizer, for_workers
from flowkit.app.recipe import read_recipe


@pytest.mark.parametrize(("name", "batch", "images"), [("cifar10", 64, 50_000), ("imagenet64", 16, 12_500)])
@pytest.mark.parametrize(("workers", "steps"), [(1, 782), (8, 98), (40, 20)])
def test_a_step_takes_the_batches_of_all_workers(name, batch, images, workers, steps):
    recipe = for_workers(read_recipe(f"glow/{name}"), workers)
    table = recipe.training
    assert table.batch_size == batch * workers
    assert table.epoch_steps == steps == -(-images // table.batch_size)
    inner = build_optimizer(recipe, table.epoch_steps).inner_optimizer
    assert inner.beta_2 == inner.ema_momentum == 1 - 1 / steps
    # The warm-up: 10 epochs, whatever their number of steps, to the same rate.
    rates = [float(inner._learning_rate(step)) for step in (0, 5 * steps - 1, 10 * steps - 1, 10**6)]
    assert rates == pytest.approx([1e-3 / (10 * steps), 5e-4, 1e-3, 1e-3], rel=1e-6)
