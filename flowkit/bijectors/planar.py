"""A bend along one direction."""

from typing import Any

import keras
import numpy as np
from keras import ops

from flowkit.bijectors.fixed import rng
from flowkit.bijectors.scales import scale
from flowkit.bijectors.steered_by_context import SteeredByContext
from flowkit.numerics import log_sigmoid, solve_increasing, tanh


def bend(s: Any, m: Any) -> tuple[Any, Any]:
    """(s + m tanh(s), log of its derivative) for each entry; m > -1, so that it increases.

    >>> [round(float(a), 4) for a in bend(0.0, 1.0)]  # log 2
    [0.0, 0.6931]
    """
    # 1 - tanh^2 would be all rounding far out, and m may be large.
    square = 4 * ops.exp(log_sigmoid(2 * s) + log_sigmoid(-2 * s))
    return s + m * tanh(s), ops.log1p(m * square)


def unbend(y: Any, m: Any) -> Any:
    """s with s + m tanh(s) = y for each entry, which lies within |m| of y; its gradients are exact."""
    reach = ops.abs(m)
    return solve_increasing(lambda s: bend(s, m), y, y - reach, y + reach)


@keras.saving.register_keras_serializable("flowkit")
class Planar(SteeredByContext):
    """z = x + u' tanh(w . x + b), log-det = log(1 + m / cosh^2(w . x + b)), m = w . u', for vectors.

    u' = u + (m - w . u) w / |w|^2 with m a softplus function of w . u, above -0.999 and 0 at 0: this makes the map
    increase along w whatever the weights are. It starts at the identity, u = 0, with w drawn from `seed`.

    The inverse finds s with s + m tanh(s) = w . z + b, within |m| of that, and so x = z - u' tanh(s); its gradients are
    exact, for first derivatives. For fast samples, as in variational inference, take `Inverse` of it.

    With a `conditioner`, u, w and b are weights + conditioner(context). Rezende & Mohamed, Variational Inference with
    Normalizing Flows (2015).

    >>> layer = Planar(seed=0)
    >>> z, log_det = layer(ops.ones((4, 3)))
    >>> bool(ops.max(ops.abs(layer.inverse(z)[0] - 1)) < 1e-5)
    True
    """

    inverse_kind = "iterative"

    def _starts(self, size):
        w = rng(self.seed).normal(size=size) / np.sqrt(size)
        return {"u": np.zeros(size), "w": w, "b": np.zeros(())}

    def _bending(self, context):
        """u', w, b and m = w . u'."""
        u, w, b = self._steered(context)
        along, square = _dot(w, u), _dot(w, w)
        m = scale(along) - 1
        # By |w|^2, not by |w|. If w = 0, x is only moved.
        square = ops.where(square > 0, square, ops.ones_like(square))
        return u + ((m - along) / square)[:, None] * w, w, b, m

    def _forward(self, x, context=None):
        u, w, b, m = self._bending(context)
        s = _dot(w, x) + b
        return x + u * tanh(s)[:, None], bend(s, m)[1]

    def _inverse(self, z, context=None):
        u, w, b, m = self._bending(context)
        s = unbend(_dot(w, z) + b, m)
        return z - u * tanh(s)[:, None], -bend(s, m)[1]


def _dot(a, b):
    return ops.sum(a * b, axis=-1)
