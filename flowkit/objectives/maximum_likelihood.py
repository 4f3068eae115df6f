"""Maximum likelihood."""

from typing import Any

from flowkit.contract import Context, Tensor
from flowkit.objectives.objective import Objective


class MaximumLikelihood(Objective):
    """-log p(x) in nats, for data x: the objective of a flow that is compiled without `loss`.

    With `dequantize`, -log p(x + u) for noise u drawn anew: its mean bounds that of the stored values from above.

    >>> import keras
    >>> from flowkit import Flow
    >>> from flowkit.bijectors import Scale
    >>> flow = Flow(Scale(0.0))
    >>> flow.compile("adam", loss=MaximumLikelihood())
    >>> round(float(flow.objective(flow, keras.ops.zeros((1, 2)), None)[0]), 4)  # ln(2 pi)
    1.8379
    """

    def __call__(self, flow: Any, x: Tensor, context: Context) -> Tensor:
        return -flow._log_density(x, flow.embed(context), flow._noise_for(x))
