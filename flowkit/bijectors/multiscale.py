"""The multi-scale architecture: some latents leave early, the rest goes on."""

import math
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import keras
import numpy as np
from keras import ops

from flowkit.bijectors.composite import Composite, compose_scales
from flowkit.bijectors.levels import level_shapes
from flowkit.contract import Context, ContractError, FlowLayer, Shape, Tensor
from flowkit.contract.arguments import Fraction, listed, words
from flowkit.contract.call import Call
from flowkit.contract.conditioner import LAYOUTS, ask, build_conditioner, derive, split_parameters
from flowkit.contract.errors import shape_error
from flowkit.contract.shapes import as_tuple, sum_event
from flowkit.engines import engine
from flowkit.transforms import Gaussian


class MultiScale(Composite):
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
        top_prior: keras.Layer = None,
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
                f"MultiScale: got {len(self.scales)} scales and {len(self.priors)} priors, expected at least one scale "
                "and one prior fewer than scales."
            )
        self._declare()

    def _declare(self):
        """Set the spec from those of the scales, of which some are known once they are built."""
        priors = [prior for prior in self._networks if prior is not None]
        self.spec = compose_scales(self, self.scales, priors, bounded=self.min_scale > 0)

    @property
    def _members(self):
        return self.scales

    @property
    def _networks(self):
        return [*self.priors, self.top_prior]

    def _check_shape(self, x_shape):
        shape = as_tuple(x_shape)
        if not self.built and len(shape) == 4 and None not in shape[1:]:
            level_shapes(self, shape)  # whose errors name sizes that fit all scales, not the first one alone
        super()._check_shape(x_shape)

    def _shapes(self, x_shape):
        return [shape for shape, _ in level_shapes(self, as_tuple(x_shape))]

    def build(self, x_shape: Shape, context_shape: Shape | None = None) -> None:
        shapes = self.build_parts(x_shape, context_shape)
        self.event, self.latent_events = as_tuple(x_shape)[1:], [left[1:] for _, left in shapes]

    def build_parts(self, x_shape: Shape, context_shape: Shape | None = None) -> Any:
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
        self._declare()
        return shapes

    # Running

    def derive(self, x_shape: Shape, inverse: bool) -> Any:
        data = as_tuple(self.compute_inverse_shape(x_shape) if inverse else x_shape)
        derived = []
        for scale, prior, (given, left) in zip(
            self.scales, self._networks, level_shapes(self, data), strict=True
        ):
            after = scale.compute_output_shape(given)
            derived.append((scale.derive(after if inverse else given, inverse), derive(prior, left)))
        return derived

    def run(
        self, x: Tensor, call: Call, noise: Tensor | None = None, derived: Any = None
    ) -> tuple[Tensor, Tensor]:
        derived = derived or self._nothing
        if not call.inverse:
            return self._join(self.run_levels(x, call, noise, derived=derived))
        shares = self._split_noise(noise, x, inverse=True)
        *parts, x = self.split_latents(x)
        x, total = self._whiten(x, self.top_prior, x, call, derived[-1][1])
        for number in reversed(range(len(self.scales))):
            scale, (own, of_prior) = self.scales[number], derived[number]
            if scale is not self.scales[-1]:
                z, log_det = self._whiten(parts.pop(), self.priors[number], x, call, of_prior)
                x, total = engine.concatenate([x, z]), total + log_det
            x, log_det = scale.run(x, call, shares[number], own)
            total = total + log_det
        return x, total

    def _join(self, levels):
        """Return (flat latents, log-det) of what `run_levels` yields."""
        parts, *log_dets = zip(*levels, strict=True)
        return self.join_latents(parts), sum([*log_dets[0], *log_dets[1]], 0.0)

    def _visit(self, x, context, noise, visit):
        levels = list(self.run_levels(x, Call(context), noise, visit))
        # Fewer levels: `visit` ended the run, whose output nobody reads.
        return self._join(levels) if len(levels) == len(self.scales) else (x, 0.0)

    def run_levels(
        self, x: Tensor, call: Call, noise: Tensor | None = None, visit: Any = None, derived: Any = None
    ) -> Any:
        """Yield for each level its latents eps, the log-det of its scale, and that of the whitening of its latents.

        Latents are (batch, h, w, c); a log-det is (batch,), or a scalar if it does not depend on x. `visit(part, input,
        noise)` is called before each scale and each prior, and may return what `Composite` says: of a prior the
        latents and the log-det of their whitening.
        """
        shares, derived = self._split_noise(noise, x, inverse=False), derived or self._nothing
        for scale, prior, share, (own, of_prior) in zip(
            self.scales, self._networks, shares, derived, strict=True
        ):
            found = visit(scale, x, share) if visit else None
            if found is True:
                return
            x, log_det = found or scale.run(x, call, share, own)
            kept, z = (x, x) if scale is self.scales[-1] else _halves(x)
            found = visit(prior, kept, None) if visit else None
            if found is True:
                return
            z, whitening = found or self._whiten(z, prior, kept, call, of_prior)
            yield z, log_det, whitening
            x = kept

    @property
    def _nothing(self):
        return [(None, None)] * len(self.scales)

    def _whiten(self, z, prior, given, call, derived=None):
        """Return eps = (z - mean) exp(-logs) and its log-det, with (mean, logs) = prior(given); or the way back."""
        if prior is None:
            return z, 0.0
        transform = self._whitening
        layout = "contiguous" if prior is self.top_prior else self.prior_layout
        h = split_parameters(ask(prior, given, call.context, z.dtype, derived), transform.parameters, layout)
        z, log_slope = transform.run(z, transform.prepare(h), inverse=call.inverse)
        log_det = sum_event(log_slope)
        # The top prior has one output for the whole batch if its input is the same for all samples.
        return z, log_det[0] if log_slope.shape[0] == 1 else log_det

    def before_top_prior(self, z: Tensor, context: Context = None) -> Tensor:
        """Return what the last scale gives, (batch, h, w, c), of flat latents (batch, dim): the top prior undone."""
        last = self.split_latents(z)[-1]
        return self._whiten(last, self.top_prior, last, Call(context, inverse=True))[0]

    def split_levels(self) -> tuple[list[FlowLayer], FlowLayer | None]:
        return [], self

    # Latents of all levels as one flat tensor

    def split_latents(self, z: Tensor) -> list[Any]:
        """Return the flat latents (batch, dim) as one map (batch, h, w, c) for each level."""
        self._require_size()
        parts, start = [], 0
        for event in self.latent_events:
            stop = start + math.prod(event)
            parts.append(engine.reshape(z[:, start:stop], (-1, *event)))
            start = stop
        return parts

    def join_latents(self, parts: Sequence[Tensor]) -> Tensor:
        """Return one map for each level, as from `split_latents`, as flat latents (batch, dim)."""
        self._require_size()
        flat = [engine.reshape(p, (-1, math.prod(e))) for p, e in zip(parts, self.latent_events, strict=True)]
        if any(isinstance(part, np.ndarray) for part in flat):  # from `flow.encode`
            return np.concatenate([ops.convert_to_numpy(part) for part in flat], axis=-1)
        return engine.concatenate(flat)

    def latent_rank(self, rank: int | None) -> int | None:
        return 1

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        built = as_tuple(input_shape)[1:] == getattr(self, "event", None)
        left = self.latent_events if built else [z[1:] for _, z in level_shapes(self, as_tuple(input_shape))]
        return (input_shape[0], sum(map(math.prod, left)))

    def compute_inverse_shape(self, latent_shape: Shape) -> Shape:
        self._require_size()
        dim = self.compute_output_shape((None, *self.event))[1]
        if tuple(latent_shape[1:]) != (dim,):
            raise shape_error(self, f"flat latents (batch, {dim})", latent_shape)
        return (latent_shape[0], *self.event)

    def _require_size(self):
        if not hasattr(self, "event"):
            wanted = "to know the size of the data"
            received = "latents before any data"
            hint = "Call .build((None, height, width, channels)), or adapt or fit first."
            raise ContractError("event shape", self, expected=wanted, received=received, hint=hint)


def _halves(x):
    """Return the channels of `x` in two halves."""
    return engine.split(x, [x.shape[-1] // 2, x.shape[-1] - x.shape[-1] // 2])
