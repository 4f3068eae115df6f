"""Sweeps over the free entries of rows: iterated sampling-importance resampling within Gibbs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from flowkit.data.column_types import ColumnType
from flowkit.flow.rows import noise_of_rows

if TYPE_CHECKING:
    from flowkit.tables.table_flow import TableFlow


def sweep(
    flow: "TableFlow",
    kinds: Sequence[ColumnType],
    codes: np.ndarray,
    noise: Any,
    free: np.ndarray,
    context: Any,
    *,
    sweeps: int,
    candidates: int,
    seed: int,
    rng: np.random.Generator,
) -> None:
    """Draw the `free` entries of `codes`, (rows, columns), from p(entry | the others of the row), in place.

    A column after another, the entry competes with `candidates - 1` proposals of its type in `kinds`, with the weight
    p(row) / q(proposal). `noise` is that of each row's density, or None for an exact flow; the present entry keeps its
    own, so that p(free entries | the others) stays as it is. Andrieu, Lee & Vihola (2018).
    """
    for number in range(sweeps):
        for place in np.flatnonzero(free.any(axis=0)).tolist():
            rows = np.flatnonzero(free[:, place])
            kind = kinds[place]
            values = kind.proposals((len(rows), candidates), rng)
            values[:, 0] = codes[rows, place]
            tried = np.repeat(codes[rows], candidates, axis=0)
            tried[:, place] = values.reshape(-1)
            its = None if context is None else np.repeat(context[rows], candidates, axis=0)
            draw = 1 + number * len(kinds) + place
            new = noise_of_rows(flow, tried.shape, 0, inverse=False, seed=seed, draw=draw)
            if new is not None:
                new[::candidates] = noise[rows]
            weights = flow.log_prob_of_codes(tried, its, new).reshape(values.shape) - kind.log_share(values)
            chosen = np.argmax(weights + rng.gumbel(size=weights.shape), axis=1)
            chosen += candidates * np.arange(len(rows))
            codes[rows, place] = tried[chosen, place]
            if new is not None:
                noise[rows] = new[chosen]
