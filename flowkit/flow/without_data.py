"""Training without data: what stands in their place, what is refused, and what layers are adapted to."""

import functools

import numpy as np
from keras import tree

from flowkit.contract.adaptation import adapt_inside, is_adapted
from flowkit.contract.arguments import whole_number
from flowkit.contract.errors import label
from flowkit.contract.noise import given
from flowkit.contract.shapes import as_tuple
from flowkit.engines import engine
from flowkit.flow.adapting import adapt_embedding
from flowkit.flow.context import check_context
from flowkit.flow.in_a_group import check_division
from flowkit.flow.in_batches import count
from flowkit.flow.inputs import pack, rows
from flowkit.flow.noise import counted_for

_DRAWS = 256  # that layers are adapted to, as Glow's to images


def adapt_to_draws(flow, context, again):
    """Adapt what waits for data to draws of the flow, in the direction in which they are made.

    256 of them; for a context, one for each of its rows, to which the embedding and the networks of the base adapt.
    Raises NotImplementedError for what takes its statistics from data alone.
    """
    context = check_context(flow, context)
    latent = as_tuple(flow.bijector.compute_output_shape((None, *flow._event())))[1:]
    size = _DRAWS if context is None else count(context)
    with engine.no_grad():
        seen = adapt_embedding(flow, context, again)

        def draw():
            return flow.base.sample((size, *latent), seed=flow.sampler, context=seen)

        adapt_inside(flow.base, draw, again)
        if not is_adapted(flow.base):
            raise NotImplementedError(
                f"{label(flow.base)} cannot be adapted without data: it takes its statistics from their latents. Call "
                ".adapt(x) on data first."
            )
        noise = counted_for(flow, (size, *latent), 0, inverse=True)
        flow.bijector.adapt(draw(), context=seen, again=again, inverse=True, **given(noise))


def refuse_data(flow, asked, given):
    """Raise ValueError if any of what is `given`, name -> value, is there, and the objective needs none."""
    name = type(flow.objective).__name__
    for word, value in given.items():
        if value is not None and not flow.objective.needs_data:
            raise ValueError(
                f"{asked} expects no {word}= for {name}, which learns from the flow's own draws, received "
                f"{type(value).__name__}: fit(steps_per_epoch=1000, batch_size=256), with context= for a conditional "
                "flow."
            )


def to_fit_without_data(flow, given, context, batch_size, options):
    """((None, context of the first batch), what Keras is to fit on, what changes in the `options` of its `fit`).

    Raises ValueError for data that are `given`, name -> value, and if nothing says how long an epoch is.
    """
    refuse_data(flow, "fit", given)
    flow._event()
    context = check_context(flow, context)
    size = 32 if batch_size is None else whole_number(batch_size, "batch_size", least=1)
    check_division(size, size)
    steps = options.get("steps_per_epoch")
    if steps is None and context is None:
        raise ValueError(
            f"fit expects steps_per_epoch= for {type(flow.objective).__name__}, which needs no data that would say how "
            "long an epoch is: fit(steps_per_epoch=1000, batch_size=256)."
        )
    steps = -(-count(context) // size) if steps is None else whole_number(steps, "steps_per_epoch", least=1)
    batches = _batches(context, size, options.get("initial_epoch", 0) * steps)
    return (None, rows(context, _DRAWS)), batches, {"steps_per_epoch": steps, "shuffle": False}


def _batches(context, size, start):
    """Batches without data, for ever, from number `start` on: the order of rows follows from the number alone."""
    nothing = np.zeros((size, 0), "float32")
    if context is None:
        while True:
            yield (nothing,)
    n, number = count(context), start
    # Of many rows it is not drawn for each batch.
    order = functools.lru_cache(maxsize=2)(functools.partial(_order, n))
    while True:
        places = np.arange(number * size, (number + 1) * size)
        dealt = np.concatenate(
            [order(turn)[places[places // n == turn] % n] for turn in np.unique(places // n)]
        )
        yield (pack(nothing, tree.map_structure(lambda c: c[dealt], context)),)  # noqa: B023
        number += 1


def _order(n, turn):
    return np.random.default_rng([n, int(turn)]).permutation(n)
