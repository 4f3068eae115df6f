"""The random numbers of a layer: how many, of which kind, and which part of a flow receives which.

A layer does not draw: it declares how many numbers it needs for a sample, and its hooks receive them as one flat tensor
(batch, k). So both directions stay functions, on every engine, and the caller chooses the source of the numbers.
"""

from typing import Any, NamedTuple

import keras
from keras import ops

KINDS = ("normal", "uniform")


class Need(NamedTuple):
    """`size` numbers for a sample, of a kind: "normal" (standard) or "uniform" (in [0, 1))."""

    kind: str
    size: int


Needs = tuple[Need, ...]


def count(needs: Needs) -> int:
    """Return how many numbers they are in all."""
    return sum(need.size for need in needs)


def needs_for(layer: Any, shape: tuple[Any, ...], *, inverse: bool) -> Needs:
    """Return what a direction needs for a sample of its input, of `shape`; () if it draws nothing."""
    if not layer.spec.draws(inverse=inverse):
        return ()
    return layer.noise_needs(layer.compute_inverse_shape(shape) if inverse else shape, inverse=inverse)


def split_noise(noise: Any, shares: list[Needs]) -> list[Any]:
    """Return consecutive pieces of `noise` (batch, k), one for each of the shares; None for an empty share.

    >>> one, none = split_noise(ops.ones((5, 3)), [(Need("normal", 3),), ()])
    >>> tuple(one.shape), none
    ((5, 3), None)
    """
    pieces, start = [], 0
    for needs in shares:
        stop = start + count(needs)
        pieces.append(noise[:, start:stop] if needs else None)
        start = stop
    return pieces


def drawn(needs: Needs, batch: Any, dtype: str, seed: Any) -> Any:
    """Return numbers for `batch` samples, (batch, k), from a `SeedGenerator` or a whole number; None for no needs."""
    if not needs:
        return None
    if not isinstance(seed, keras.random.SeedGenerator):
        seed = keras.random.SeedGenerator(seed)  # which differs from need to need
    draw = {"normal": keras.random.normal, "uniform": keras.random.uniform}
    pieces = []
    for kind, size in needs:
        pieces.append(draw[kind]((batch, size), dtype=dtype, seed=seed))
    return pieces[0] if len(pieces) == 1 else ops.concatenate(pieces, axis=-1)


def given(noise: Any) -> dict[str, Any]:
    """Return `noise` as a keyword, or no keyword for None."""
    return {} if noise is None else {"noise": noise}
