"""The bits of each level of a multi-scale flow."""

# isort: split
import math
from types import MethodType

import numpy as np
from keras import ops

from flowkit.bijectors.levels import find_levels
from flowkit.contract import Context, Tensor
from flowkit.contract.shapes import event_size
from flowkit.distributions import Normal
from flowkit.flow import Flow, prepare, scoring
from flowkit.flow.noise import refuse_varying

__all__ = ["level_bits"]


def level_bits(
    flow: Flow, x: Tensor, context: Context = None, *, batch_size: int | None = None, seed: int = 0
) -> np.ndarray:
    """Divide `flow.bits_per_dim(x)` among the levels, numpy (n, levels): a row adds up to that number.

    Level l, with d_l of the D entries, carries

        b_l = -(log N(eps_l) + log|det deps_l/dz_l| + d_l v_l) / (D ln 2),

    where eps_l are its latents, whitened by its prior, and v_l is the log-volume per entry that they have gained
    on their way: -ln(levels of the data) for the bin that dequantisation fills, plus, for each scale that they
    have passed, its log-det over the number of entries that came out of it.

    So a scale's log-det is shared by what leaves after it and what goes on, entry by entry. Charged to its own
    level alone it would depend on the unit in which a scale hands on: a factor of 2 there moves a bit per
    entry from one level to another, and changes no density. Data uniform over 2^b values, coded as they are,
    have b bits in each entry of each level.

    As in `flow.log_prob` there is one draw of dequantisation noise, from `seed`. Order: that of `split_latents`.
    Raises ValueError for a flow without levels, or with another base than Normal (its latents might depend
    on each other, and could not be scored level by level).

    >>> import numpy as np
    >>> from flowkit import zoo
    >>> flow = zoo.glow(levels=2, steps=1, width=4)
    >>> images = np.random.default_rng(0).integers(0, 256, (8, 4, 4, 1), dtype="uint8")
    >>> bits = level_bits(flow.adapt(images), images)
    >>> bits.shape, bool(np.allclose(bits.sum(axis=1), flow.bits_per_dim(images)))
    ((8, 2), True)
    """
    check_scored_by_level(flow, "level_bits")
    score = MethodType(_level_log_probs, flow)  # equal each time, so that it is compiled once
    with flow.lock:
        x, context = prepare.seen(flow, x, context, batch_size)
        nats = scoring.scored(flow, score, x, context, batch_size, seed)
    return -nats.astype("float64") / (math.prod(flow.event_shape) * math.log(2))


def check_scored_by_level(flow: Flow, wanted: str) -> None:
    """Raise ValueError, beginning with `wanted`, for a flow whose levels cannot be scored one by one."""
    find_levels(flow.bijector, wanted)
    if not isinstance(flow.base, Normal):
        raise ValueError(
            f"{wanted}: expected Normal as the flow's base, received {type(flow.base).__name__}."
        )
    refuse_varying(flow.dequantize, wanted)
    if flow.bijector.spec.draws(inverse=False):
        raise ValueError(
            f"{wanted}: expected a bijector that draws nothing, received one with "
            f"noise={flow.bijector.spec.noise!r}: what its noise adds belongs to no level."
        )


def _level_log_probs(flow, y, context, noise):
    # `noise` is None: level_bits refuses a bijector that draws.
    before, multiscale = find_levels(flow.bijector, "level_bits")
    entries = event_size(y.shape)
    volume = 0.0 if flow.dequantize is None else flow.dequantize.log_volume(1)
    for part in before:
        y, log_det = part.run(y, context, inverse=False)
        volume = volume + log_det / entries
    columns = []
    for eps, log_det, whitening in multiscale.run_levels(y, context):
        volume = volume + log_det / entries
        size = event_size(eps.shape)
        eps = ops.reshape(eps, (-1, size))  # as a base sees all latents: flat
        columns.append(flow.base.log_prob(eps, context=context) + whitening + size * volume)
        entries -= size
    return ops.stack(columns, axis=1)
