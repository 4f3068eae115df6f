"""The columns of a table brought to mean 0 and deviation 1."""

import numpy as np
from keras import ops

from flowkit.bijectors.affine import ChannelAffine
from flowkit.contract import Shape
from flowkit.contract.adaptation import adapted_flag
from flowkit.contract.columns import ColumnError


class Standardize(ChannelAffine):
    """z = (x - mean) / std for each column, log-det = -sum(log std).

    Mean and (biased) standard deviation are those of the data that `adapt(x)` is given; they are stored and never
    trained. `Flow.fit` hands over up to 10,000 rows, where an `ActNorm` has its first batch. The statistics are
    computed in float64, and the mean is subtracted first: so columns far from 0, or of very different scales, keep
    all the digits that they came with. As the volume is counted, log_prob is a density in the data's own units.

    `adapt` raises ContractError for a column that does not vary, since it has no density, for one that varies by less
    than its numbers resolve (10^9 + noise in float32), and for NaN and infinity. It names the column.

    >>> x = np.random.default_rng(0).normal([1e6, 0.0], [1.0, 1e-6], (500, 2)).astype("float32")
    >>> z, log_det = Standardize().adapt(x)(x)
    >>> z = ops.convert_to_numpy(z)
    >>> bool(abs(z.mean(0)).max() < 0.05 and abs(z.std(0) - 1).max() < 1e-3)
    True
    """

    rows_to_adapt = 10_000

    def build(self, x_shape: Shape) -> None:
        shape = (x_shape[-1],)
        self.mean = self.add_weight(shape=shape, initializer="zeros", name="mean", trainable=False)
        self.log_std = self.add_weight(shape=shape, initializer="zeros", name="log_std", trainable=False)
        self.flag = adapted_flag(self)

    def _numbers(self):
        return -self.mean.value, -self.log_std.value, None

    def _adapt(self, x):
        mean, std = self._statistics(x)
        self._assign(mean, np.log(std))

    def _adapt_inverse(self, z):
        # The inverse is z std + mean: what leaves it has mean 0 and variance 1.
        mean, std = self._statistics(z)
        self._assign(-mean / std, -np.log(std))

    def _assign(self, mean, log_std):
        self.mean.assign(mean.astype(self.variable_dtype))
        self.log_std.assign(log_std.astype(self.variable_dtype))
        self.flag.assign(True)

    def _statistics(self, x):
        """Return (mean, standard deviation) of each column, float64."""
        x = ops.convert_to_numpy(x).reshape(-1, x.shape[-1])
        finite = np.isfinite(x)
        self._refuse(
            ~finite.all(axis=0),
            lambda i: f"{x[np.argmin(finite[:, i]), i]} in row {np.argmin(finite[:, i])}",
            "Drop or repair those rows.",
        )
        steps = np.spacing(np.abs(x).max(axis=0))  # between neighbouring numbers
        x = x.astype("float64")
        constant = (x == x[0]).all(axis=0)
        self._refuse(
            constant,
            lambda i: f"all {len(x)} entries are {x[0, i]:g} in {self.compute_dtype}",
            "Leave it out; or, if it does vary, give more rows or subtract a round number in float64.",
        )
        mean = x.mean(axis=0)
        std = np.sqrt(np.square(x - mean).mean(axis=0))
        self._refuse(
            std < 4 * steps,
            lambda i: (
                f"{mean[i]:g} +- {std[i]:.2g}, which {self.compute_dtype} holds in steps of {steps[i]:.2g}"
            ),
            "Subtract a round number first, in float64.",
        )
        return mean, std

    def _refuse(self, bad, fault, hint):
        """Raise ColumnError for the first column that is `bad`, of which `fault` says what is wrong."""
        if not bad.any():
            return
        first, more = int(np.argmax(bad)), int(bad.sum()) - 1
        raise ColumnError(
            "adapt",
            self,
            first,
            f"{fault(first)}{f', and {more} more such columns' if more else ''}",
            expected="columns of finite numbers that vary",
            hint=hint,
        )
