"""The base class of what is exact on one side only."""

from flowkit.contract.flow_layer import FlowLayer


class Surjection(FlowLayer):
    """A map of which one direction forgets something, and the other draws it anew from its noise.

    The spec says which: `noise="inverse"` (forward drops entries, the way back draws them; the likelihood is exact), or
    `noise="forward"` (the way back drops what forward had drawn; the likelihood is a bound). As for a `Bijector` both
    directions return (output, log_det), and a `Chain` takes both. What is returned as log_det is the term that the
    layer adds to the likelihood: with q the density of what is dropped,

    - log q(dropped | kept) of the direction that drops it, and -log q(drawn | kept) of the one that draws it;
    - so it is log|det| of (input, noise) -> output less the log-density of the noise, in the direction that draws.

    Nielsen, Jaini, Hoogeboom, Winther & Welling, SurVAE Flows (2020).

    >>> from flowkit.contract import BijectorSpec
    >>> class Halved(Surjection):
    ...     spec = BijectorSpec(event_rank=1, noise="inverse", log_det="varying")
    ...     def noise_size(self, x_shape):
    ...         return x_shape[-1] // 2
    >>> Halved().forgets(inverse=False), Halved().forgets(inverse=True)
    (True, False)
    """

    def forgets(self, *, inverse: bool) -> bool:
        """Whether that direction forgets something: the one that the other draws anew."""
        return self.spec.draws(inverse=not inverse)
