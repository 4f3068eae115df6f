"""Couplings that keep volumes although they scale."""

from typing import Annotated, Any

from keras import ops

from flowkit.bijectors.coupling import Coupling
from flowkit.contract.arguments import Positive, words
from flowkit.contract.conditioner import LAYOUTS, Network
from flowkit.numerics import mean
from flowkit.transforms import Affine


class _Balanced(Affine):
    """`Affine("tanh")` whose log-scales have mean 0 over the channels."""

    log_det = "zero"

    def _scale_of(self, s):
        log_scale, _ = super()._scale_of(s)
        log_scale = log_scale - mean(log_scale, axis=-1, keepdims=True)
        return log_scale, ops.exp(log_scale)


class GIN(Coupling):
    """z_b = (x_b + t(x_a)) exp(s(x_a) - mean s(x_a)), log-det = 0, on halves a and b of the channels.

    The mean is over the channels of b, at each place of an image by itself. Channels stretch at the expense of each
    other, so a flow of such layers can order its latents by their variance, which `Scale` at its end learns.

    `conditioner`, `swap` and `layout` are those of `Coupling`; s is between -bound and bound. One channel in b is only
    shifted. Raises ContractError for vectors or images of one channel. Sorrenson, Rother & Koethe, Disentanglement by
    Nonlinear ICA with General Incompressible-flow Networks (GIN) (2020).

    >>> from flowkit.conditioners import MLP
    >>> z, log_det = GIN(MLP([8]))(ops.ones((4, 6)))
    >>> float(log_det[0])
    0.0
    """

    def __init__(
        self,
        conditioner: Network,
        *,
        bound: Positive = 2.0,
        swap: bool = False,
        layout: Annotated[str, words(*LAYOUTS)] = "contiguous",
        **kwargs: Any,
    ) -> None:
        super().__init__(conditioner, _Balanced("tanh", bound=bound), swap=swap, layout=layout, **kwargs)
        self.bound = bound
