"""A stretch around one point."""

import keras
import numpy as np
from keras import ops

from flowkit.bijectors.fixed import rng
from flowkit.bijectors.scales import scale
from flowkit.bijectors.steered_by_context import SteeredByContext
from flowkit.numerics import norm, softplus


@keras.saving.register_keras_serializable("flowkit")
class Radial(SteeredByContext):
    """z = x + beta (x - c) / (alpha + r), r = |x - c|, for vectors of D entries.

    log-det = (D - 1) log(1 + beta / (alpha + r)) + log(1 + alpha beta / (alpha + r)^2). alpha > 0 and beta >
    -0.999 alpha are softplus functions of weights, so that r increases. It starts at the identity, beta = 0, with c
    drawn from `seed`.

    The inverse has a closed form: r is the positive root of r^2 + (alpha + beta - R) r - alpha R, R = |z - c|.

    With a `conditioner`, c and what alpha and beta are made of are weights + conditioner(context). Rezende & Mohamed,
    Variational Inference with Normalizing Flows (2015).

    >>> layer = Radial(seed=0)
    >>> z, log_det = layer(ops.ones((4, 3)))
    >>> bool(ops.max(ops.abs(layer.inverse(z)[0] - 1)) < 1e-6)
    True
    """

    def _starts(self, size):
        return {"c": rng(self.seed).normal(size=size), "alpha": np.array(0.5), "beta": np.zeros(())}

    def _around(self, context):
        """c, alpha and beta / alpha."""
        c, alpha, beta = self._steered(context)
        return c, softplus(alpha) + 1e-3, scale(beta) - 1

    def _stretch(self, away, r, alpha, ratio):
        """log(1 + beta / (alpha + r)) and the log-det, at distance r."""
        share = alpha / (alpha + r)
        log_stretch = ops.log1p(ratio * share)
        return log_stretch, (away.shape[-1] - 1) * log_stretch + ops.log1p(ratio * share * share)

    def _forward(self, x, context=None):
        c, alpha, ratio = self._around(context)
        away = x - c
        r = norm(away, axis=-1)
        log_stretch, log_det = self._stretch(away, r, alpha, ratio)
        # Not c + away * stretch, which would round x even if there is no stretch.
        return x + ops.expm1(log_stretch)[:, None] * away, log_det

    def _inverse(self, z, context=None):
        c, alpha, ratio = self._around(context)
        away = z - c
        length = norm(away, axis=-1)
        k = alpha + alpha * ratio - length
        # The sum of two numbers of one sign, so nothing cancels, and the one not taken is finite.
        m = ops.sqrt(k * k + 4 * alpha * length) + ops.abs(k)
        r = ops.where(k <= 0, m / 2, 2 * alpha * length / m)
        log_stretch, log_det = self._stretch(away, r, alpha, ratio)
        return z + ops.expm1(-log_stretch)[:, None] * away, -log_det
