"""Data-dependent initialisation of a flow: one batch, handed on from part to part as data go."""

from keras import ops, tree

from flowkit.contract.adaptation import adapt_layer, is_adapted, refuse_unadapted
from flowkit.contract.noise import given
from flowkit.engines import engine
from flowkit.flow.dequantizing import dequantized
from flowkit.flow.noise import counted


def adapt_parts(flow, y, context, again, noise):
    """Adapt a built flow: its embedding to the context, its bijector to `y`, its base to the latents.

    `noise` is what the bijector needs for these rows, or None. `again=False` leaves alone what was adapted before.
    """
    base, context = flow.base, adapt_embedding(flow, context, again)
    flow.bijector.adapt(y, context=context, again=again, **given(noise))
    if base.weights and (again or not is_adapted(base)):  # without weights nothing in it depends on data
        z, _ = flow.bijector(y, context=context, **given(noise))
        adapt_layer(base, lambda: base.adapt(z, context), lambda: base.log_prob(z, context=context), again)


def adapt_dequantizer(flow, x, again):
    """Adapt the dequantizer to stored values; return the continuous ones."""
    if flow.dequantize is not None:
        needs = flow.dequantize.noise_needs(x.shape, inverse=False)
        flow.dequantize.adapt(x, again=again, noise=counted(needs, 0, len(x)))
    return dequantized(flow, x)


def adapt_embedding(flow, context, again):
    """Adapt the embedding to a context, or None; returns what the parts see of it, as tensors."""
    context = None if context is None else tree.map_structure(ops.convert_to_tensor, context)
    embedding = flow.embedding
    if embedding is not None and context is not None:
        adapt_layer(embedding, lambda: embedding.adapt(context), lambda: embedding(context), again)
    return flow.embed(context)


def check_adapted(flow):
    """Raise ContractError if a part of a built flow still waits for `adapt`."""
    engine.settle(flow)
    if not flow.bijector._adapted:
        flow.bijector._check_adapted()
    for part in (flow.base, flow.embedding, flow.dequantize):
        refuse_unadapted(part)
