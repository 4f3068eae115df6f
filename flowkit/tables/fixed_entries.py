"""Rows of a table flow with some entries fixed, whatever was declared at training."""

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import narwhals as nw
import numpy as np

from flowkit.contract.arguments import shown
from flowkit.data.category import Category
from flowkit.data.typed_columns import require_columns
from flowkit.flow import inputs
from flowkit.flow.rows import noise_of_rows
from flowkit.flow.sampling import entropy, proposals
from flowkit.flow.weighted import effective, resampled
from flowkit.tables.gibbs import sweep

if TYPE_CHECKING:
    from flowkit.tables.table_flow import TableFlow

_DRAWS, _EACH = 4096, 16  # of the flow, at least, of which rows are made at a time: in all, and for each row
_ROUNDS = 3  # of such draws, at most, each as many as all before
_ENOUGH = 2  # effective draws for each row
_FEW = 20  # effective draws, below which a warning says that the rows rest on few
_NEAR = (1 / 256, 1 / 64, 1 / 16, 1 / 4, 1)  # shares of the draws that count as near the fixed entries
_SWEEPS, _CANDIDATES = 5, 32


def fixed_codes(flow: "TableFlow", where: Mapping[Any, Any]) -> np.ndarray:
    """Return the codes of fixed entries, (columns,), NaN for columns that are free.

    Raises ValueError for an unknown column, a given column, and an entry that its column cannot hold.
    """
    if not isinstance(where, Mapping):
        raise TypeError(f"where: got {type(where).__name__}, expected entries by column, {{column: entry}}.")
    columns, given = flow.columns, flow.context_columns
    library: Any = columns.library or "pandas"
    if given is not None and (here := [name for name in where if name in given.names]):
        raise ValueError(
            f"where: got {here[0]!r}, a given column, expected modelled ones. Pass it in context=."
        )
    require_columns("where", where, columns.names)
    codes = np.full(len(columns.names), np.nan)
    for name, entry in where.items():
        place = columns.names.index(name)
        kind = columns.types[place]
        try:
            code = kind.codes(nw.new_series("", [entry], backend=library))[0]
        except (TypeError, ValueError, OverflowError):
            code = np.inf
        if not np.isfinite(code):
            received = "a missing entry" if np.isnan(code) else shown(entry)
            raise ValueError(f"where: got {received} for column {name!r}, expected {kind.expected}.")
        codes[place] = code
    return codes


def rows_with(flow: "TableFlow", n: int, fixed: np.ndarray, context: Any, seed: Any) -> np.ndarray:
    """Return the codes of `n` rows drawn from p(free entries | fixed entries), (n, columns).

    `context` is one row of what the flow is conditioned on, or None. Draws x' of the flow become x by the fixed
    entries, and are resampled with the weights p(x) K(x') / p(x'). Any K of the fixed columns alone makes means of
    these right; a K that prefers draws near the fixed entries makes weights alike. If they are too few, Gibbs sweeps
    follow.
    """
    rng = np.random.default_rng(entropy(flow.sampler if seed is None else seed))
    own, pool = int(rng.integers(2**31)), None
    size = max(_DRAWS, _EACH * n)
    for number in range(_ROUNDS):
        more = _draws(flow, size << max(0, number - 1), fixed, context, own + number)
        pool = more if pool is None else [np.concatenate(pair) for pair in zip(pool, more, strict=True)]
        drawn, log_ratio, codes, noise = pool
        weights = _weights(flow, drawn, log_ratio, fixed)
        worth = effective(weights)
        if worth >= _ENOUGH * n:
            break
    _see_enough(worth, n, len(weights))
    chosen = rng.permutation(resampled(weights, n, rng))
    codes, noise = codes[chosen], noise[chosen]
    if worth < _ENOUGH * n:
        kinds = enumerate(flow.columns.types)
        free = np.stack([kind.proposed(codes[:, place]) for place, kind in kinds], axis=1) & np.isnan(fixed)
        context = None if context is None else np.repeat(context, n, axis=0)
        how = {"sweeps": _SWEEPS, "candidates": _CANDIDATES, "seed": own, "rng": rng}
        sweep(flow, flow.columns.types, codes, noise, free, context, **how)
    return codes


def _draws(flow, size, fixed, context, seed):
    """Return (draws x' of the flow, log p(x) / p(x'), the codes of x, which have the fixed entries, their noise)."""
    drawn, log_q = proposals(flow, size, context, seed, None)
    right = inputs.finite_or_missing(flow, drawn).all(axis=1) & np.isfinite(log_q)
    right &= ~inputs.outside(drawn, flow.bijector.spec.domain).any(axis=1)
    drawn, log_q = drawn[right], log_q[right]
    codes = np.where(np.isnan(fixed), drawn.astype("float64"), fixed)
    context = None if context is None else np.repeat(context, len(codes), axis=0)
    noise = noise_of_rows(flow, codes.shape, 0, inverse=False, seed=seed)
    log_ratio = flow.log_prob_of_codes(codes, context, noise) - log_q
    return [drawn, log_ratio, codes, np.zeros((len(codes), 0)) if noise is None else noise]


def _weights(flow, drawn, log_ratio, fixed):
    """Return the weights of draws, with the K that makes most of them count; zeros if none can be.

    K is Gaussian in the ranks of numbers, of a width that a share of the draws is nearer; another category is one rank
    away. If so many have the fixed entries themselves, K is 0 for the others.
    """
    squares = np.zeros(len(drawn))
    for place in np.flatnonzero(~np.isnan(fixed)).tolist():
        column, kind = drawn[:, place], flow.columns.types[place]
        if isinstance(kind, Category) and not kind.ordered:
            squares += column != fixed[place]
            continue
        there = np.sort(column[~np.isnan(column)])
        ends = [np.searchsorted(there, [*column, fixed[place]], side) for side in ("left", "right")]
        ranks = np.add(*ends) / 2 / max(1, len(there))
        squares += np.where(np.isnan(column), np.inf, np.square(ranks[:-1] - ranks[-1]))
    found = [np.zeros(len(squares))]
    there = squares[np.isfinite(squares)]
    for width in np.quantile(there, _NEAR, method="lower") if len(there) else ():
        logs = log_ratio + (np.where(squares > 0, -np.inf, 0.0) if width == 0 else -squares / width / 2)
        if np.isfinite(most := logs.max()):
            found.append(np.exp(logs - most))
    return max(found, key=effective)


def _see_enough(worth, n, draws):
    """Raise ValueError if no draw can have the fixed entries; warn if rows would rest on few of them."""
    if not worth:
        raise ValueError(
            "where: got entries that the flow excludes together, expected a possible combination."
        )
    if worth < min(_FEW, n):
        warnings.warn(
            f"where: got entries near {worth:.0f} of {draws:,} draws of the flow, expected {_FEW}. The rows may be "
            "too much alike.",
            stacklevel=5,
        )
