"""What a base density says of its draws, and where: the numbers agree."""

import numpy as np

from flowkit.testing.given import contexts
from flowkit.testing.given.density import ROWS, SLACK
from flowkit.testing.given.points import points_of
from flowkit.testing.verdicts.broken import point

_LEVEL = 5.0  # standard errors: by chance, one comparison in 1.7 million is farther off
_QUANTILES = (0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98)
_FAR = (1.0, 10.0, 100.0, 1000.0)
_COLD = 2.0**-6
_OVERFLOWING = -1e30  # what ends here, and not by -100 or so, has no exponential to blame


def mass(density):
    """It adds up to 1."""
    _, weights = density.weighted
    total, error = weights.mean(), weights.std() / np.sqrt(len(weights))
    if not density.unknown and not abs(total - 1) < _LEVEL * error + SLACK:
        size = int(np.prod(density.event))
        each = (
            f" It is {total ** (1 / size):.4g} for each of {size} entries." if size > 1 and total > 0 else ""
        )
        raise density.broken(
            "mass",
            "a density that adds up to 1",
            f"{total:.4f}, to within {error:.1g}",
            f"A constant or a log-scale may be missing, or counted once for all entries.{each}",
        )
    return density.unknown


def draws(density):
    """Shares of the draws are masses."""
    if density.unknown:
        return density.unknown
    points, weights = density.weighted
    flat = density.z.reshape(len(density.z), -1)
    for direction in _directions(density):
        along, reference = flat @ direction, points @ direction
        for quantile in _QUANTILES:
            end = np.quantile(along, quantile)
            share, inside = (along < end).mean(), weights * (reference < end)
            expected = inside.mean()
            error = np.hypot(
                inside.std() / np.sqrt(len(inside)), np.sqrt(quantile * (1 - quantile) / len(along))
            )
            if not abs(share - expected) < _LEVEL * error + SLACK:
                raise density.broken(
                    "draws",
                    f"a share of {expected:.4f} of the draws below {end:.4g} along {_text(direction)}, by the density",
                    f"{share:.4f}, to within {error:.1g}",
                    "sample and log_prob may differ in a scale, a mean, an order of entries or in what they make of a "
                    "context.",
                )
    return None


def rows(density):
    """Draws for a context are what they are, whatever the contexts of the rows beside them."""
    if density.context is None:
        return "not asked: no context"
    # The other one first and last, where a slip may look.
    turns = np.resize([1, 0], 2 * (len(density.z) // 8) + 1)
    drawn = density.draw(len(turns), density.seed + 2, contexts.rows(density.varied(2), turns))[1::2]
    beside = drawn.reshape(len(drawn), -1)
    usual = density.z.reshape(len(density.z), -1)
    for direction in _directions(density):
        end = np.quantile(usual @ direction, _QUANTILES)
        for quantile, share in zip(_QUANTILES, (beside @ direction < end[:, None]).mean(axis=1), strict=True):
            error = np.sqrt(quantile * (1 - quantile) * (1 / len(beside) + 1 / len(usual)))
            if not abs(share - quantile) < _LEVEL * error + SLACK:
                raise density.broken(
                    "rows",
                    f"a share of {quantile:.4f} of the draws for a context along {_text(direction)}, as without others",
                    f"{share:.4f} where every other row has another context",
                    "Each row is drawn for its own context: do not take the first one, or a mean, for all.",
                )
    return None


def temperature(density):
    """It multiplies the scale, or is refused."""
    try:
        colder = density.draw(len(density.z) // 10, density.seed, temperature=0.5)
    except ValueError as refusal:
        if getattr(refusal, "clause", None) is not None:  # a broken promise
            raise
        return "kept: refused"
    hint = (
        "It multiplies the scale, not the variance; where it means nothing, raise ValueError for any but 1."
    )
    usual = density.log_prob(density.z[: len(colder)]).mean()
    if not density.log_prob(colder).mean() > usual:
        raise density.broken(
            "temperature", "draws at 0.5 to lie where the density is higher", "lower on average", hint
        )
    # Near 0, how far draws of one seed are from where they end is in proportion to it, whatever becomes of them later.
    end, half, whole = (density.draw(ROWS, density.seed, temperature=t) for t in (_COLD**4, _COLD / 2, _COLD))
    moved, expected = np.abs(whole - end).mean(), 2 * np.abs(half - end).mean()
    if not abs(moved - expected) < 0.1 * expected:
        raise density.broken(
            "temperature",
            "draws to spread twice as far at twice the temperature",
            f"{2 * moved / expected:.3f} times as far",
            hint,
        )
    return None


def finite(density):
    """The log-density of a point of its domain is a number, however far out that lies, if float32 can hold it."""
    rng = np.random.default_rng([density.seed, 3])
    directions = np.stack([np.ones(density.event), -np.ones(density.event), rng.normal(size=density.event)])
    t = np.concatenate([size * directions for size in _FAR])
    z = points_of(density.distribution.domain, t).astype("float32")
    found = density.log_prob(z)
    for row in np.flatnonzero(~np.isfinite(found)):
        if np.isneginf(found[row]) and _last_finite(density, t[row]) < _OVERFLOWING:
            continue  # as of a Gumbel density: the logarithm itself is too large for float32
        raise density.broken(
            "finite",
            f"a finite log-density at {point(z[row])}, in its domain {density.distribution.domain}",
            f"{found[row]}",
            "Add logarithms in place of taking that of a product or an exponential; or declare a smaller domain.",
        )


def _last_finite(density, t):
    """The log-density where it ends to be finite, on the way from 0 to `t`; 0 if it is not even beside 0."""
    low, high, last = 0.0, 1.0, 0.0
    for _ in range(30):
        middle = (low + high) / 2
        z = points_of(density.distribution.domain, middle * t[None]).astype("float32")
        (value,) = density.log_prob(z)
        if np.isfinite(value):
            low, last = middle, value
        else:
            high = middle
    return last


def _directions(density):
    size = int(np.prod(density.event))
    rng = np.random.default_rng([density.seed, 1])
    return [*np.eye(size), *rng.normal(size=(4 if size > 1 else 0, size))]


def _text(direction):
    return np.round(direction, 2).tolist()
