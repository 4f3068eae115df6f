"""The Gaussian prior of latents that leave early, undone: they too are standard normal then."""

from flowkit.contract.conditioner import ask, deal
from flowkit.engines import engine
from flowkit.transforms import Gaussian


class Whitening:
    """eps = (z - mean) exp(-logs) and its log-det, with (mean, logs) = prior(given); or, `inverse`, the way back."""

    def __init__(self, layout: str, transform: Gaussian) -> None:
        self.layout, self.transform = layout, transform

    def __call__(self, z, prior, given, context, *, inverse):
        if prior is None:
            return z, 0.0
        h = ask(prior, given, context, z.dtype)
        prepared = self.transform.prepare(deal(h, self.transform.parameters, self.layout))
        z, log_slope = self.transform.run(z, prepared, inverse=inverse)
        log_det = engine.row_sums(log_slope)
        # The top prior answers once for the whole batch if nothing tells samples apart.
        return z, log_det[0] if log_slope.shape[0] == 1 else log_det
