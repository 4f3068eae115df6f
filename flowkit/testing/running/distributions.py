"""The check of a base density: whether its draws and its density agree, and both keep their manners."""

from collections.abc import Callable
from typing import Any

import keras

from flowkit.testing.clauses import densities, density_manners
from flowkit.testing.given.density import Density, copied
from flowkit.testing.given.randomize import SCALE

# Where weights have moved by little, two maps of them may differ by less than draws show.
_SCALES = (SCALE, 1.0)


def check_distribution(
    distribution: Any,
    *,
    event_shape: tuple[int, ...] = (2,),
    context: Any = None,
    draws: int = 200_000,
    seed: int = 0,
) -> dict[str, str]:
    """Hold a base density to its promises, with weights moved off their start. Returns each clause's "kept" or reason.

    `distribution` is one with a config, or a function that makes one; a copy is checked. `event_shape` is that of one
    latent, of few entries (up to 4 or so). If latents have several ranks, check each: `event_shape=(2, 1, 2)` too.
    `context` is one row of it, or a dict of such. It is varied: a normal number is added to each entry, and labels are
    turned on if `num_classes` says how many there are. The clauses, asked for weights moved by little and by more:

    - "batch": a row's density does not depend on the other rows, nor on their contexts.
    - "seeds": the same seed gives the same draws, another one others, and so does the next call.
    - "mass": the density adds up to 1, by importance sampling from a Cauchy density. It is not asked of whole numbers
      and of the simplex, and neither is "draws".
    - "draws": for half-spaces in several directions the share of draws in them is their mass, to within 5 standard
      errors of both: a chi-square with one degree of freedom for each, at a level of 6e-7.
    - "rows": of a batch with two contexts in turn, the draws for the one are as if all rows had that.
    - "temperature": at 0.5, draws are where the density is higher, and near 0 they spread in proportion to it; or the
      distribution refuses it with a ValueError.
    - "finite": far out in its domain the log-density is a finite number, unless float32 holds none so low.
    - "gradient": that of the log-density for latents, weights and context, and that of draws for weights if
      `reparameterized` says that there is one, are what finite differences show.
    - "saving": a copy made from the config, with the same weights, has the same density.

    Raises ContractError with the clause, what was expected and what was found.

    >>> from flowkit.distributions import StudentT
    >>> check_distribution(StudentT(3.0), draws=20_000)["draws"]
    'kept'
    """
    if not isinstance(distribution, keras.Layer) and not callable(distribution):
        raise TypeError(
            f"check_distribution expects a Distribution or a function that makes one, received {distribution!r}."
        )
    given = distribution if isinstance(distribution, keras.Layer) else None
    make = distribution if given is None else lambda: copied(given)
    found: dict[str, str] = {}
    for turn, scale in enumerate(_SCALES):
        density = Density(make(), tuple(event_shape), context, draws, seed + turn, scale, given)
        for name, clause in _CLAUSES.items():
            found.setdefault(name, clause(density) or "kept")
        if not density.distribution.trainable_variables:
            break  # nothing has moved, so nothing else would come
    return found


_CLAUSES: dict[str, Callable[..., str | None]] = {
    "batch": density_manners.batch,
    "seeds": density_manners.seeds,
    "mass": densities.mass,
    "draws": densities.draws,
    "rows": densities.rows,
    "temperature": densities.temperature,
    "finite": densities.finite,
    "gradient": density_manners.gradient,
    "saving": density_manners.saving,
}
