"""Data-dependent initialisation: the rows that a flow adapts to, passed on from part to part as data go."""

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops, tree

from flowkit import distributed
from flowkit.contract.adaptation import adapt_layer, is_adapted
from flowkit.contract.noise import given
from flowkit.engines import engine
from flowkit.flow import inputs, packing
from flowkit.flow.rows import count, counted, dequantized, head, map_leaves, noise_of_rows

if TYPE_CHECKING:
    from flowkit.flow.flow import Flow

_ENTRIES = 2**22  # of the rows that are adapted to: of a wide table, or of images, they are fewer
_ENOUGH = 1000  # rows that show whether a column is of whole numbers


def adapt(flow: "Flow", x: np.ndarray, context: Any, again: bool) -> None:
    """Adapt a built flow to checked data: the embedding to the context, the bijector to data, the base to latents.

    `again=False` leaves alone what was adapted before.
    """
    most = _most(flow, x)
    if most and len(x) > most:
        index = np.sort(np.random.default_rng(0).choice(len(x), most, replace=False))
        x, context = map_leaves(lambda rows: rows[index], (x, context))
    if engine.processes() > 1:
        x, context = map_leaves(distributed.gather, (x, context))
    y = x
    if flow.dequantize is not None:
        needs = flow.dequantize.noise_needs(x.shape, inverse=False)
        flow.dequantize.adapt(x, again=again, noise=counted(needs, 0, len(x)))
        y, _ = dequantized(flow, x, 0)
    with engine.no_grad():
        _adapt_parts(flow, y, _adapt_embedding(flow, context, again), again)


def adapt_to_draws(flow: "Flow", context: Any, again: bool) -> None:
    """Adapt what waits for data to draws of the flow: 256 of them, or one for each row of a context."""
    size = packing.DRAWS if context is None else count(context)
    flow._event()
    with engine.no_grad():
        seen = _adapt_embedding(flow, context, again)
        z = flow.base.sample((size, *flow.latent_shape), seed=flow.sampler, context=seen)
        x = flow._to_data(z, seen, noise_of_rows(flow, z.shape, 0, inverse=True))
        _adapt_parts(flow, x, seen, again)


def _adapt_parts(flow, y, seen, again):
    """Adapt the bijector to continuous values, and the base to their latents."""
    base, noise = flow.base, given(noise_of_rows(flow, y.shape, 0, inverse=False))
    flow.bijector.adapt(y, context=seen, again=again, **noise)
    if base.weights and (again or not is_adapted(base)):  # without weights nothing in it depends on data
        z, _ = flow.bijector(y, context=seen, **noise)
        adapt_layer(base, lambda: base.adapt(z, seen), lambda: base.log_prob(z, context=seen), again)


def by_weight(flow: "Flow", x: Any, context: Any, weights: np.ndarray) -> tuple[Any, Any]:
    """Return rows that repeat in proportion to their weights, so that a flow adapts to them by weight.

    Whole weights are repetitions, if these are no more rows than the flow asks for.
    """
    if not weights.any():  # those of a first batch
        return x, context
    total, most = weights.sum(), _most(flow, x) or len(x)
    count = total if total <= most and (weights == np.rint(weights)).all() else most
    times = np.diff(np.rint(np.cumsum(weights) * (count / total)), prepend=0).astype(int)
    return map_leaves(lambda rows: np.repeat(rows, times, axis=0), (x, context))


def adapt_for_fit(
    flow: "Flow", data: packing.Packed, options: dict[str, Any], sample_weight: Any = None
) -> None:
    """Adapt what was not adapted before to the first batch, or to more rows of `data` if the flow asks for them.

    Of arrays those that are trained on, by their weights. Of a data set as many batches as it takes, or the first alone
    if it can be read only once.
    """
    x, context = data.first(options["batch_size"])
    if x is None:
        adapt_to_draws(flow, context, again=False)
        return
    most = _most(flow, x)
    if most and data.arrays:
        share = 1.0 - options.get("validation_split", 0.0)
        x, context = head(data.rows, int(len(data.rows[0]) * share))
    elif most and not hasattr(data.x, "__next__"):
        x, context = _rows_of_set(flow, data.x, most)
    if sample_weight is not None and data.arrays:
        weights = inputs.row_weights(sample_weight, len(data.rows[0]), "sample_weight")[: len(x)]
        x, context = by_weight(flow, x, context, weights)
    adapt(flow, x, context, again=False)


def _rows_of_set(flow, data, most):
    """Return (x, context) of as many batches of a data set as hold `most` rows."""
    pieces, found, batches = [], 0, data
    if isinstance(data, keras.utils.PyDataset):  # perhaps of sorted rows
        batches = (data[int(i)] for i in np.random.default_rng(0).permutation(data.num_batches or 1))
    for batch in batches:
        pieces.append(inputs.checked_data(flow, *packing.peeked(batch)))
        found += len(pieces[-1][0])
        if found >= most:
            break
    xs, contexts = zip(*pieces, strict=True)
    context = None if contexts[0] is None else tree.map_structure(lambda *c: np.concatenate(c), *contexts)
    x = np.concatenate(xs)
    if len(x) >= _ENOUGH:
        packing.refuse_whole(flow, x)
    return x, context


def _most(flow, x):
    """Return how many rows as large as those of `x` the flow asks for."""
    return min(flow.most_rows_to_adapt, max(1, _ENTRIES // max(1, int(np.prod(x.shape[1:])))))


def _adapt_embedding(flow, context, again):
    """Adapt the embedding to a context, or None; return what the parts receive of it, as tensors."""
    context = map_leaves(ops.convert_to_tensor, context)
    embedding = flow.embedding
    if embedding is not None and context is not None:
        adapt_layer(embedding, lambda: embedding.adapt(context), lambda: embedding(context), again)
    return flow.embed(context)
