"""A map of each column to normal scores, which `adapt` sets in closed form."""

from typing import Annotated, Any

import numpy as np
from keras import ops
from scipy import special, stats

from flowkit.bijectors.affine import column_statistics
from flowkit.contract import Bijector, BijectorSpec, Shape, sum_event
from flowkit.contract.adaptation import adapted_flag
from flowkit.contract.arguments import Positive, whole
from flowkit.transforms.splines import LEAST, RationalQuadratic, raw_of_knots, raw_of_slopes

_LAST = 3.5  # the score of the last knot at most


class NormalScores(Bijector):
    """z_i = Phi^-1(F_i(x_i)) for the columns of vectors, with log-det = sum_i log dz_i / dx_i.

    F_i is a smooth estimate of the distribution function of column i; Phi that of the standard normal. The map is a
    monotone spline of `bins` rational quadratics between the scores that the smallest and the largest row have, and
    straight lines beyond: numbers outside of the data have densities too.

    `adapt(x)` sets it in closed form, in float64, and training goes on from there. Until then the layer refuses to
    work. `Flow.fit` adapts it to up to 10,000 rows. F_i mixes the normal distribution with the column's mean and
    deviation with normal kernels about the rows. The share of the first and the kernels' width are the smoothest of
    those whose likelihood, of rows left out one by one, is within `caution` standard errors of the best.

    Under a standard normal base it is the density of independent columns; with a `LinearGaussian` behind it, the
    Gaussian copula. `adapt` raises what `Standardize` raises; ValueError for `bins` outside 2..128. Silverman, Density
    Estimation for Statistics and Data Analysis (1986), chapter 3; Durkan, Bekasov, Murray & Papamakarios, Neural Spline
    Flows (2019).

    >>> x = np.random.default_rng(0).exponential(size=(2000, 1)).astype("float32")
    >>> z, log_det = NormalScores().adapt(x)(x)
    >>> bool(abs(ops.convert_to_numpy(z).std() - 1) < 0.1)
    True
    """

    spec = BijectorSpec(event_rank=1)
    rows_to_adapt = 10_000

    def __init__(
        self, bins: Annotated[int, whole(2, 128)] = 16, *, caution: Positive = 1.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.bins, self.caution = bins, caution
        self.spline = RationalQuadratic(bins, bound=1.0, tails="affine")

    def build(self, x_shape: Shape) -> None:
        size = x_shape[-1]
        of_column = {"shape": (size,), "trainable": False}
        self.middle = self.add_weight(initializer="zeros", name="middle", **of_column)
        self.log_reach = self.add_weight(initializer="zeros", name="log_reach", **of_column)
        self.log_last = self.add_weight(initializer="zeros", name="log_last", **of_column)
        self.raw = self.add_weight(shape=(self.spline.parameters, size), initializer="zeros", name="raw")
        self.flag = adapted_flag(self)

    # z = exp(log_last) s((x - middle) exp(-log_reach)), with s a spline from [-1, 1] onto itself.

    def _derive(self, x_shape, inverse):
        x, z, slopes = self.spline.prepare(self.raw.value)
        return {
            "x": x,
            "z": z,
            "slopes": slopes,
            "middle": self.middle.value,
            "reach": ops.exp(self.log_reach.value),
            "last": ops.exp(self.log_last.value),
            "log_scale": self.log_last.value - self.log_reach.value,
        }

    def _forward(self, x, derived):
        x = (x - derived["middle"]) / derived["reach"]
        z, log_slope = self.spline.forward(x, *_of_all_rows(derived))
        return derived["last"] * z, sum_event(log_slope + derived["log_scale"])

    def _inverse(self, z, derived):
        x, log_slope = self.spline.inverse(z / derived["last"], *_of_all_rows(derived))
        return derived["reach"] * x + derived["middle"], sum_event(log_slope - derived["log_scale"])

    def _adapt(self, x):
        column_statistics(self, x)  # which refuses columns that have no density
        columns = ops.convert_to_numpy(x).astype("float64").T
        middle, reach, last, raw = (
            np.stack(part, axis=-1) for part in zip(*map(self._fitted, columns), strict=True)
        )
        self.middle.assign(middle)
        self.log_reach.assign(np.log(reach))
        self.log_last.assign(np.log(last))
        self.raw.assign(raw)
        self.flag.assign(True)

    def _fitted(self, column):
        """Return the middle, the reach, the last score and the raw numbers of the spline of one column."""
        estimate = _Smooth(column, self.caution)
        last = min(-special.ndtri(0.5 / (len(column) + 1)), _LAST)
        x = estimate.places(np.linspace(-last, last, self.bins + 1))
        middle, reach = (x[0] + x[-1]) / 2, (x[-1] - x[0]) / 2
        x = _apart((x - middle) / reach)
        z, slopes = estimate(middle + reach * x)
        z = _apart(z / last)
        # Between a quarter and four times those of the bins beside a knot: the estimate of few rows may be steeper.
        chords = np.diff(z) / np.diff(x)
        beside = np.sqrt(np.append(chords[0], chords) * np.append(chords, chords[-1]))
        slopes = np.clip(slopes * reach / last, beside / 4, beside * 4)
        # A tail goes on as steep as the last eighth of the scores is: the last rows alone may lie anywhere.
        few = max(1, self.bins // 8)
        tails = [(z[few] - z[0]) / (x[few] - x[0]), (z[-1] - z[-1 - few]) / (x[-1] - x[-1 - few])]
        slopes[[0, -1]] = tails
        return middle, reach, last, np.concatenate([raw_of_knots(x), raw_of_knots(z), raw_of_slopes(slopes)])


def _of_all_rows(derived):
    """Return knots, images and slopes with an axis for the rows, which share them."""
    return [ops.expand_dims(derived[name], 0) for name in ("x", "z", "slopes")]


def _apart(knots):
    """Return increasing knots from -1 to 1 that are at least as far apart as those of splines, near to `knots`."""
    least = 3 * LEAST * np.arange(len(knots))
    up = np.maximum.accumulate(np.maximum(knots, -1) - least) + least
    up = np.minimum(up, 1 - least[::-1])
    up[[0, -1]] = -1, 1
    return up


# An estimate of a distribution function

_TRIED = 500  # rows that choose it; of more rows its width follows from their number
_CENTRES = 2000  # of kernels, at most
_WIDTHS = 2.0 ** np.arange(-2, 1.25, 0.5)  # times the rule for a normal density
_SHARES = np.array([0.0, 0.03, 0.1, 0.3, 0.6, 1.0])  # of the normal density
_TINY = 1e-30


class _Smooth:
    """A smooth estimate of the distribution of one column of numbers, as `NormalScores` explains it."""

    def __init__(self, x: np.ndarray, caution: float) -> None:
        self.mean, self.std = x.mean(), x.std()
        spread = min(self.std, stats.iqr(x) / 1.349 or self.std)
        tried = x if len(x) <= _TRIED else np.random.default_rng(0).choice(x, _TRIED, replace=False)
        widths = 0.9 * spread * len(tried) ** -0.2 * _WIDTHS
        width, share = _chosen(_left_out(tried, widths), caution)
        self.share, self.width = _SHARES[share], widths[width] * (len(tried) / len(x)) ** 0.2
        levels = (np.arange(_CENTRES) + 0.5) / _CENTRES
        self.centres = x if len(x) <= _CENTRES else np.quantile(x, levels)

    def __call__(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the normal score z of the numbers `x`, and dz/dx."""
        normal, kernels = (x - self.mean) / self.std, (x[:, None] - self.centres) / self.width

        def mixed(f):
            return self.share * f(normal) + (1 - self.share) * f(kernels).mean(axis=1)

        below, above = mixed(special.ndtr), mixed(lambda u: special.ndtr(-u))
        z = np.where(below < above, special.ndtri(below), -special.ndtri(above))
        density = self.share * _density(normal) / self.std
        density += (1 - self.share) * _density(kernels).mean(axis=1) / self.width
        return z, density / np.maximum(_density(z), _TINY)

    def places(self, z: np.ndarray) -> np.ndarray:
        """Return the numbers whose scores are about `z`."""
        normal = self.mean + 4 * self.std * np.linspace(-1, 1, 100)
        ends = [self.centres.min(), self.centres.max()]
        about = np.append(self.centres[:: -(-len(self.centres) // 100)], ends)
        grid = np.unique(np.concatenate([normal, *(about + self.width * np.array([[-3.0], [0.0], [3.0]]))]))
        scores, _ = self(grid)
        finite = np.isfinite(scores)
        return np.interp(z, scores[finite], grid[finite])


def _left_out(x, widths):
    """Return log-densities of rows left out one by one: (widths, shares, rows)."""
    n = len(x)
    residuals = np.square(x - x.mean())
    rest = np.maximum(
        residuals.sum() - residuals * n / (n - 1), np.finfo("float64").eps * residuals.sum()
    ) / (n - 1)
    normal = np.exp(-0.5 * residuals * (n / (n - 1)) ** 2 / rest) / np.sqrt(2 * np.pi * rest)
    apart = np.square(x[:, None] - x) / -2
    np.fill_diagonal(apart, -np.inf)
    sums = np.array([np.exp(apart / width**2).sum(axis=1) / width for width in widths])
    kernels = sums[:, None] / ((n - 1) * np.sqrt(2 * np.pi))
    shares = _SHARES[:, None]
    return np.log(np.maximum(shares * normal + (1 - shares) * kernels, _TINY))


def _chosen(log_densities, caution):
    """Return (width, share), as indices: the smoothest that is not behind the best by so many standard errors."""
    means = log_densities.mean(axis=-1)
    best = log_densities[np.unravel_index(np.argmax(means), means.shape)]
    behind = best - log_densities
    alike = behind.mean(axis=-1) <= caution * behind.std(axis=-1) / np.sqrt(len(best))
    share = np.flatnonzero(alike.any(axis=0))[-1]
    return np.flatnonzero(alike[:, share])[-1], share


def _density(u):
    """Return the standard normal density."""
    return np.exp(-0.5 * u * u) / np.sqrt(2 * np.pi)
