"""Make and train a flow by a seed of its own, and leave all global generators of random numbers as they are."""

import contextlib
import random
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from flowkit.data.batch_order import Batches
from flowkit.engines import engine
from flowkit.flow import adapting, inputs, packing
from flowkit.flow.flow import Flow

_lock = threading.RLock()


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Enter a scope in which `seed` determines the initial weights and the noise of new layers.

    Keras draws the seed of each initializer and `SeedGenerator` from Python's global `random`, and a layer passes none
    on. So the scope seeds `random`, and restores it. It should only make layers: other threads share `random`.
    """
    with _lock:
        before = random.getstate()
        random.seed(seed)
        try:
            yield
        finally:
            random.setstate(before)


def own_draws(seed: int) -> contextlib.AbstractContextManager[None]:
    """Return a scope for Keras's training: on PyTorch it draws from the global generator, which is restored."""
    return engine.own_draws(seed)


def fit_in_order(
    flow: Flow,
    x: np.ndarray,
    context: Any = None,
    *,
    sample_weight: np.ndarray | None = None,
    batch_size: int,
    seed: int,
    **options: Any,
) -> Any:
    """Run `flow.fit` on arrays, in an order that follows from `seed`: Keras shuffles by the global generators.

    A flow adapts to the rows by their weights `sample_weight`.
    """
    packing.refuse_whole(flow, x)
    x, context = inputs.checked_data(flow, x, context)
    if sample_weight is not None:
        flow.adapt(*adapting.by_weight(flow, x, context, sample_weight), again=False)
        sample_weight = sample_weight / sample_weight.mean()
    steps = -(-len(x) // batch_size)
    batches = Batches(
        x, context, sample_weight=sample_weight, batch_size=batch_size, epoch_steps=steps, seed=seed
    )
    with own_draws(seed):
        return flow.fit(batches, **options)
