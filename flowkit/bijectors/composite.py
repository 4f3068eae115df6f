"""Bijectors that run other layers: one traversal runs, adapts and refreshes them."""

from collections.abc import Sequence
from typing import Any

from flowkit.contract import Bijector, Context, FlowLayer, Shape, Tensor
from flowkit.contract.conditioner import adapt_conditioner, refresh_conditioner, refreshes
from flowkit.contract.noise import deal, given
from flowkit.contract.shapes import as_tuple


def proceed(part: Any, x: Tensor, noise: Tensor) -> None:
    """Do nothing: the default visitor of `Composite._travel`."""


class Composite(Bijector):
    """A bijector that runs other layers: the base class of `Chain`, `Repeat` and `MultiScale`.

    A subclass defines:

    - `_members`: the layers that it runs, in the order of the forward direction;
    - `_networks`: the conditioners that it calls between them, each may be None;
    - `_shapes(x_shape)`: the shape of the data of each member, for data of `x_shape`;
    - `_travel(x, context, noise, inverse, visit)`: run a direction and return (output, list of log-dets). It calls
      `visit(part, input, noise)` before it runs a part. That may return the part's (output, log-det), which then are
      not computed again, or True, to stop.
    """

    composite = True
    _members: Sequence[FlowLayer]
    _networks: Sequence[Any] = ()

    def run(
        self, x: Tensor, context: Context, inverse: bool, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        y, log_dets = self._travel(x, context, noise, inverse)
        return y, sum(log_dets, 0.0)

    @property
    def num_classes(self) -> int | None:
        counts = [getattr(part, "num_classes", None) for part in (*self._members, *self._networks)]
        return next((count for count in counts if count is not None), None)

    def forgets(self, *, inverse: bool) -> bool:
        return any(member.forgets(inverse=inverse) for member in self._members)

    # Noise

    def noise_needs(self, x_shape: Shape, *, inverse: bool) -> Tensor:
        return sum(self._shares(x_shape, inverse=inverse), ())

    def _shares(self, x_shape, *, inverse):
        """Return what each member needs of noise."""
        pairs = zip(self._members, self._shapes(x_shape), strict=True)
        return [member.noise_needs(shape, inverse=inverse) for member, shape in pairs]

    def _deal(self, noise, x, *, inverse):
        """Return the noise of each member, for the input `x` of a direction; None for no noise."""
        if noise is None:
            return [None] * len(self._members)
        shape = as_tuple(x.shape)
        x_shape = self.compute_inverse_shape(shape) if inverse else shape
        return deal(noise, self._shares(x_shape, inverse=inverse))

    # Adapting and refreshing

    def run_adapt(
        self, x: Tensor, context: Context, again: bool = True, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Adapt the parts, and return (output, log-det), which so need not be computed again."""

        def adapt(part, x, share):
            if isinstance(part, FlowLayer):
                return part.run_adapt(x, context, again, **given(share))
            return adapt_conditioner(part, x, context, again)

        y, log_dets = self._travel(x, context, noise, False, adapt)
        return y, sum(log_dets, 0.0)

    def run_adapt_inverse(
        self, z: Tensor, context: Context, again: bool = True, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Adapt the parts to latents, and return (output, log-det) of the inverse."""

        def adapt(part, z, share):
            return part.run_adapt_inverse(z, context, again, **given(share))

        x, log_dets = self._travel(z, context, noise, True, adapt)
        return x, sum(log_dets, 0.0)

    @property
    def refreshes(self) -> bool:
        return self._refreshing() > 0

    def _refreshing(self):
        """Return how many parts are refreshed."""
        return sum(member.refreshes for member in self._members) + sum(map(refreshes, self._networks))

    def run_refresh(self, x: Tensor, context: Context, noise: Tensor | None = None) -> None:
        left = self._refreshing()

        def refresh(part, x, share):
            nonlocal left
            if not isinstance(part, FlowLayer):
                refresh_conditioner(part, x, context)
            elif part.refreshes:
                part.run_refresh(x, context, **given(share))
                left -= 1
            return left == 0

        self._travel(x, context, noise, False, refresh)
