"""The multi-scale architecture: some latents leave early, the rest goes on."""

import math
from collections.abc import Iterable
from typing import Annotated, Any

import keras
import numpy as np
from keras import ops

from flowkit.bijectors.composition import compose_scales
from flowkit.bijectors.levels import level_shapes
from flowkit.contract import Bijector, ContractError, FlowLayer
from flowkit.contract.arguments import Fraction, listed, words
from flowkit.contract.conditioner import (
    LAYOUTS,
    adapt_conditioner,
    ask_dealt,
    build_conditioner,
    refresh_conditioner,
    refreshes,
)
from flowkit.contract.noise import deal, given
from flowkit.contract.shapes import as_tuple
from flowkit.engines import engine
from flowkit.transforms import Gaussian


class FlatLatents(Bijector):
    """The part of `MultiScale` that knows where each level's latents lie in (batch, dim)."""

    event: tuple[int, ...]
    latent_events: list[tuple[int, ...]]

    def split_latents(self, z: Any) -> list[Any]:
        """Return the flat latents (batch, dim) as one map (batch, h, w, c) for each level."""
        self._require_size()
        parts, start = [], 0
        for event in self.latent_events:
            stop = start + math.prod(event)
            parts.append(engine.reshape(z[:, start:stop], (-1, *event)))
            start = stop
        return parts

    def join_latents(self, parts: Any) -> Any:
        """Return one map for each level, as from `split_latents`, as flat latents (batch, dim)."""
        self._require_size()
        flat = [engine.reshape(p, (-1, math.prod(e))) for p, e in zip(parts, self.latent_events, strict=True)]
        if any(isinstance(part, np.ndarray) for part in flat):  # from `flow.encode`
            return np.concatenate([ops.convert_to_numpy(part) for part in flat], axis=-1)
        return engine.concatenate(flat)

    def latent_rank(self, rank: int | None) -> int | None:
        return 1

    def compute_output_shape(self, input_shape: Any) -> Any:
        built = as_tuple(input_shape)[1:] == getattr(self, "event", None)
        left = self.latent_events if built else [z[1:] for _, z in level_shapes(self, as_tuple(input_shape))]
        return (input_shape[0], sum(map(math.prod, left)))

    def compute_inverse_shape(self, latent_shape: Any) -> Any:
        self._require_size()
        dim = self.compute_output_shape((None, *self.event))[1]
        if tuple(latent_shape[1:]) != (dim,):
            expected, received = f"flat latents (batch, {dim})", f"shape {tuple(latent_shape)}"
            raise ContractError("event shape", self, expected=expected, received=received)
        return (latent_shape[0], *self.event)

    def _require_size(self):
        if not hasattr(self, "event"):
            raise ContractError(
                "event shape",
                self,
                expected="to know the size of the data",
                received="latents before any data",
                hint="Call .build((None, height, width, channels)), or adapt or fit first.",
            )


@keras.saving.register_keras_serializable("flowkit")
class MultiScale(FlatLatents):
    """After each scale but the last, the second half of the channels leaves as latents.

    What leaves is whitened by a Gaussian prior that reads the half that stays (and what is left at
    the end by a top prior): eps = (z - mean) exp(-logs) with (mean, logs) = prior(kept). So all latents
    are standard normal for a fitted flow, and travel as one flat tensor (batch, dim): levels in
    the order in which they leave, the last one at the end, each in row-major order.

    - `scales`: bijectors, e.g. `Chain([Squeeze(), ...])` each.
    - `priors`: for each scale but the last a conditioner from the kept half to twice as many channels
      (or None, for no whitening), `prior_layout` saying which are mean and logs.
    - `top_prior`: a conditioner for the last scale's output that reads only its shape (and the context),
      such as `flowkit.conditioners.TopPrior`, or None. Its answer is (mean, logs) in halves.
    - `min_scale` = m > 0 keeps the priors' standard deviations within (m, 1/m); the published ones are free.

    Raises ContractError if a scale cannot halve the image once more. Dinh et al., Real NVP
    (2017), section 3.6; Kingma & Dhariwal, Glow (2018), figure 2b.

    >>> from flowkit.bijectors import Squeeze
    >>> flow = MultiScale([Squeeze(), Squeeze()])
    >>> z, _ = flow(keras.ops.ones((5, 8, 8, 1)))
    >>> tuple(z.shape), [tuple(part.shape) for part in flow.split_latents(z)]
    ((5, 64), [(5, 4, 4, 2), (5, 2, 2, 8)])
    """

    def __init__(
        self,
        scales: Annotated[Iterable[Any], listed(FlowLayer, "bijectors")],
        *,
        priors: Iterable[Any] | None = None,
        top_prior: Any = None,
        prior_layout: Annotated[str, words(*LAYOUTS)] = "interleaved",
        min_scale: Fraction = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.scales = list(scales)
        self.priors = list(priors) if priors is not None else [None] * (len(self.scales) - 1)
        self.top_prior, self.prior_layout, self.min_scale = top_prior, prior_layout, min_scale
        self._whitening = Gaussian(min_scale=min_scale)
        if not self.scales or len(self.priors) != len(self.scales) - 1:
            raise ValueError(
                f"MultiScale expects at least one scale and one prior fewer than scales, received "
                f"{len(self.scales)} scales and {len(self.priors)} priors."
            )
        priors = [p for p in (*self.priors, top_prior) if p is not None]
        self.spec = compose_scales(self, self.scales, priors, bounded=self.min_scale > 0)

    @property
    def num_classes(self) -> int | None:
        counts = [getattr(part, "num_classes", None) for part in (*self.scales, *self.priors, self.top_prior)]
        return next((n for n in counts if n is not None), None)

    def build(self, x_shape: Any, context_shape: Any = None) -> None:
        shapes = self.build_parts(x_shape, context_shape)
        self.event, self.latent_events = as_tuple(x_shape)[1:], [left[1:] for _, left in shapes]

    def build_parts(self, x_shape: Any, context_shape: Any = None) -> Any:
        """Make the weights of scales and priors, and leave the size of the data open for `build`.

        Weights belong to channels: a flow whose weights come from elsewhere need not know more. Returns
        for each scale the shape it is given and that of the latents which leave after it.
        """
        shapes = level_shapes(self, as_tuple(x_shape))  # the whole way, before any weight is made
        for scale, prior, (taken, left) in zip(self.scales, [*self.priors, None], shapes, strict=True):
            scale.build_for(taken, context_shape)
            if prior is not None:
                build_conditioner(self, prior, 2 * left[-1], left, context_shape)
        if self.top_prior is not None:
            last = shapes[-1][1]
            build_conditioner(self, self.top_prior, 2 * last[-1], last, context_shape)
        return shapes

    def run_levels(self, x: Any, context: Any = None, noise: Any = None) -> Any:
        """For each level its latents eps, the log-det of its scale, and that of the whitening of its latents.

        Latents are (batch, h, w, c); a log-det is (batch,), or a scalar if it does not depend on x.
        """
        shares = self._deal(noise, as_tuple(x.shape), inverse=False)
        for scale, prior, share in zip(self.scales, [*self.priors, None], shares, strict=True):
            x, log_det = scale.run(x, context, inverse=False, **given(share))
            if scale is self.scales[-1]:
                z, whitening = self._whiten(x, self.top_prior, x, context, inverse=False)
            else:
                x, z = _halves(x)
                z, whitening = self._whiten(z, prior, x, context, inverse=False)
            yield z, log_det, whitening

    def _whiten(self, z, prior, given, context, *, inverse):
        """Return eps = (z - mean) exp(-logs) and its log-det, with (mean, logs) = prior(given); or the way back."""
        if prior is None:
            return z, 0.0
        transform = self._whitening
        layout = "contiguous" if prior is self.top_prior else self.prior_layout
        h = ask_dealt(prior, given, context, z.dtype, transform.parameters, layout)
        z, log_slope = transform.run(z, transform.prepare(h), inverse=inverse)
        log_det = engine.row_sums(log_slope)
        # The top prior answers once for the whole batch if nothing tells samples apart.
        return z, log_det[0] if log_slope.shape[0] == 1 else log_det

    def _forward(self, x, context, noise):
        total, parts = 0.0, []
        for z, log_det, whitening in self.run_levels(x, context, noise):
            parts.append(z)
            total = total + log_det + whitening
        return self.join_latents(parts), total

    def _inverse(self, z, context, noise):
        *parts, x = self.split_latents(z)
        shares = self._deal(noise, (None, *self.event), inverse=True)
        x, total = self._whiten(x, self.top_prior, x, context, inverse=True)
        for scale, prior in zip(reversed(self.scales), [None, *reversed(self.priors)], strict=True):
            if scale is not self.scales[-1]:
                z, log_det = self._whiten(parts.pop(), prior, x, context, inverse=True)
                x = engine.concatenate([x, z])
                total = total + log_det
            x, log_det = scale.run(x, context, inverse=True, **given(shares.pop()))
            total = total + log_det
        return x, total

    def run(self, x: Any, context: Any, inverse: bool, noise: Any = None) -> tuple[Any, Any]:
        return self._inverse(x, context, noise) if inverse else self._forward(x, context, noise)

    def noise_needs(self, x_shape: Any, *, inverse: bool) -> Any:
        return sum(self._shares(x_shape, inverse=inverse), ())

    def _shares(self, x_shape, *, inverse):
        """Return what each scale needs of noise, in their order."""
        shapes = level_shapes(self, as_tuple(x_shape))
        return [
            scale.noise_needs(shape, inverse=inverse)
            for scale, (shape, _) in zip(self.scales, shapes, strict=True)
        ]

    def _deal(self, noise, x_shape, *, inverse):
        """Return the noise of each scale, None for none."""
        return (
            [None] * len(self.scales)
            if noise is None
            else deal(noise, self._shares(x_shape, inverse=inverse))
        )

    def forgets(self, *, inverse: bool) -> bool:
        return any(scale.forgets(inverse=inverse) for scale in self.scales)

    def run_adapt(self, x: Any, context: Any, again: bool = True, noise: Any = None) -> None:
        shares = self._deal(noise, as_tuple(x.shape), inverse=False)
        for scale, prior, share in zip(self.scales, [*self.priors, self.top_prior], shares, strict=True):
            scale.run_adapt(x, context, again, **given(share))
            x = self._stays(scale, x, context, share)
            adapt_conditioner(prior, x, context, again)

    @property
    def refreshes(self) -> bool:
        priors = (*self.priors, self.top_prior)
        return any(scale.refreshes for scale in self.scales) or any(map(refreshes, priors))

    def run_refresh(self, x: Any, context: Any, noise: Any = None) -> None:
        shares = self._deal(noise, as_tuple(x.shape), inverse=False)
        for scale, prior, share in zip(self.scales, [*self.priors, self.top_prior], shares, strict=True):
            if scale.refreshes:
                scale.run_refresh(x, context, **given(share))
            x = self._stays(scale, x, context, share)
            refresh_conditioner(prior, x, context)

    def _stays(self, scale, x, context, noise):
        """Return what goes on to the next scale; all of the last one."""
        x, _ = scale.run(x, context, inverse=False, **given(noise))
        return x if scale is self.scales[-1] else _halves(x)[0]

    def run_adapt_inverse(self, z: Any, context: Any, again: bool = True, noise: Any = None) -> None:
        *parts, x = self.split_latents(z)
        shares = self._deal(noise, (None, *self.event), inverse=True)
        x, _ = self._whiten(x, self.top_prior, x, context, inverse=True)
        for scale, prior in zip(reversed(self.scales), [None, *reversed(self.priors)], strict=True):
            if scale is not self.scales[-1]:
                z, _ = self._whiten(parts.pop(), prior, x, context, inverse=True)
                x = engine.concatenate([x, z])
            share = given(shares.pop())
            scale.run_adapt_inverse(x, context, again, **share)
            x, _ = scale.run(x, context, inverse=True, **share)

    def before_top_prior(self, z: Any, context: Any = None) -> Any:
        """Return what the last scale gives, (batch, h, w, c), of flat latents (batch, dim): the top prior undone."""
        last = self.split_latents(z)[-1]
        return self._whiten(last, self.top_prior, last, context, inverse=True)[0]

    def split_levels(self) -> tuple[list[FlowLayer], FlowLayer | None]:
        return [], self


def _halves(x):
    """Return the channels of `x` in two halves."""
    return engine.split(x, [x.shape[-1] // 2, x.shape[-1] - x.shape[-1] // 2])
