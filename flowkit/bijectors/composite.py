"""Bijectors that run other layers: what these promise together, and one traversal that runs, adapts, refreshes them."""

import itertools
from collections.abc import Sequence
from typing import Any

from flowkit.contract import Bijector, BijectorSpec, Context, ContractError, Domain, FlowLayer, Shape, Tensor
from flowkit.contract.conditioner import adapt_conditioner, context_of, refresh_conditioner, refreshes
from flowkit.contract.errors import label
from flowkit.contract.flow_layer import adapts
from flowkit.contract.noise import given, split_noise
from flowkit.contract.shapes import as_tuple
from flowkit.contract.spec import composed


def compose(owner: FlowLayer, parts: list[FlowLayer]) -> BijectorSpec:
    """Return the spec of parts one after another.

    Raises ContractError, in the name of their `owner`, for two that do not fit.
    """
    specs = [part.spec for part in parts]
    if not specs:
        return BijectorSpec(log_det="zero")
    domain, codomain = _domains(owner, parts)
    return BijectorSpec(
        event_rank=_rank(owner, parts),
        event_multiple=specs[0].event_multiple,
        domain=domain,
        codomain=codomain,
        rearranges=all(spec.rearranges for spec in specs),
        **composed(specs),
    )


def _domains(owner, parts):
    """Return the first domain and the last codomain; what only rearranges lets the set beside it through."""
    here = next((part.spec.domain for part in parts if not part.spec.rearranges), Domain.REAL)
    moving = []
    for part in parts:
        # Neither a sum over the last axis nor an interval for each column survives a change of places.
        if not part.spec.rearranges or here == Domain.SIMPLEX or here.columns is not None:
            moving.append(part)
            here = part.spec.codomain
    moving = moving or parts
    for one, next_ in itertools.pairwise(moving):
        if one.spec.codomain != next_.spec.domain:
            wanted = f"{label(next_)} to receive its domain {next_.spec.domain}"
            received = f"{one.spec.codomain}, the codomain of {label(one)}"
            hint = "Put a bijector between the two that maps one onto the other."
            raise ContractError("domain", owner, expected=wanted, received=received, hint=hint)
    return moving[0].spec.domain, moving[-1].spec.codomain


def _rank(owner, parts):
    """Return the rank that the data must have for every part to get one that it can take; None for any."""
    wanted = rank = None
    known = True  # whether `rank`, as far as it is known, is still that of the data
    for part in parts:
        takes = part.spec.event_rank
        if takes is not None:
            if rank is not None and not set(_ranks(takes)) & set(_ranks(rank)):
                expected = f"{label(part)} to receive events of rank {takes}"
                received = f"events of rank {rank} from the parts before it"
                hint = "Put a Reshape or Flatten between them."
                raise ContractError("event rank", owner, expected=expected, received=received, hint=hint)
            rank = takes
            wanted = rank if known and wanted is None else wanted
        after = part.latent_rank(rank)
        known = known and after == rank
        rank = after
    return wanted


def _ranks(rank):
    return (rank,) if isinstance(rank, int) else rank


def compose_scales(
    owner: FlowLayer, scales: list[FlowLayer], conditioners: list[Any], bounded: bool
) -> BijectorSpec:
    """Return the spec of scales, after each of which latents leave, whitened by priors, the `conditioners`.

    `bounded` is True if the scales of the priors are bounded.

    Raises ContractError, in the name of their `owner`, for one that gives others than all real numbers, or that takes
    others and is not the first.
    """
    specs = [scale.spec for scale in scales]
    for number, spec in enumerate(specs):
        _check_real(owner, "a scale's codomain", spec.codomain)
        _check_real(owner, "a later scale's domain", spec.domain if number else Domain.REAL)
    reads = [BijectorSpec(log_det="zero", context=context_of(p)) for p in conditioners]
    varies = "varying" if conditioners else "zero"
    whitened = BijectorSpec(log_det=varies, fixed_axes="all", bounded=bounded)
    return BijectorSpec(
        event_rank=specs[0].event_rank,
        event_multiple=specs[0].event_multiple,
        domain=specs[0].domain,
        **composed([*specs, *reads, whitened]),
    )


def _check_real(owner, whose, domain):
    """Raise if latents, or what goes on to a later scale, are not all the real numbers."""
    if domain != Domain.REAL:
        wanted = f"{whose} to be {Domain.REAL}, which latents and their priors are"
        hint = "Map onto the real numbers within the scale, with Logit or Inverse(Exp())."
        raise ContractError("domain", owner, expected=wanted, received=f"{domain}", hint=hint)


class Composite(Bijector):
    """A bijector that runs other layers: the base class of `Chain`, `Repeat` and `MultiScale`.

    A subclass defines:

    - `_members`: the layers that it runs, in the order of the forward direction;
    - `_networks`: the conditioners that it calls between them, each may be None;
    - `_visit(x, context, noise, visit)`: run forward part by part and return (output, log-det). It calls
      `visit(part, input, noise)` before it runs a part. That may return the part's (output, log-det), which then are
      not computed again, or True, to stop.
    """

    runs_hooks = False
    composite = True
    _members: Sequence[FlowLayer]
    _networks: Sequence[Any] = ()

    @property
    def num_classes(self) -> int | None:
        counts = [getattr(part, "num_classes", None) for part in (*self._members, *self._networks)]
        return next((count for count in counts if count is not None), None)

    def is_lossy(self, *, inverse: bool) -> bool:
        return any(member.is_lossy(inverse=inverse) for member in self._members)

    # Noise

    def noise_needs(self, x_shape: Shape, *, inverse: bool) -> Tensor:
        return sum(self._shares(x_shape, inverse=inverse), ())

    def _shares(self, x_shape, *, inverse):
        """Return what each member needs of noise."""
        pairs = zip(self._members, self._shapes(x_shape), strict=True)
        return [member.noise_needs(shape, inverse=inverse) for member, shape in pairs]

    def _shapes(self, x_shape):
        """Return the shape of the data of each member, for data of `x_shape`."""
        shapes = [x_shape]
        for member in self._members[:-1]:
            shapes.append(member.compute_output_shape(shapes[-1]))
        return shapes[: len(self._members)]

    def _split_noise(self, noise, x, inverse):
        """Return the noise of each member, for the input `x` of a direction; None for no noise."""
        if noise is None:
            return [None] * len(self._members)
        shape = as_tuple(x.shape)
        x_shape = self.compute_inverse_shape(shape) if inverse else shape
        return split_noise(noise, self._shares(x_shape, inverse=inverse))

    # Adapting and refreshing

    def run_adapt(
        self, x: Tensor, context: Context, again: bool = True, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Adapt the parts, and return (output, log-det), which so need not be computed again."""

        def adapt(part, x, share):
            if isinstance(part, FlowLayer):
                return part.run_adapt(x, context, again, **given(share))
            return adapt_conditioner(part, x, context, again) if adapts(part) else None

        return self._visit(x, context, noise, adapt)

    def run_adapt_alone(
        self, x: Tensor, context: Context, again: bool = True, noise: Tensor | None = None
    ) -> None:
        """Adapt the parts, and end after the last that adapts."""
        left = sum(map(adapts, (*self._members, *self._networks)))

        def adapt(part, x, share):
            nonlocal left
            left -= adapts(part)
            if not isinstance(part, FlowLayer):
                if adapts(part):
                    adapt_conditioner(part, x, context, again)
                return left == 0 or (x, 0.0)  # for the latents that it would whiten
            if left > 0:
                return part.run_adapt(x, context, again, **given(share))
            part.run_adapt_alone(x, context, again, **given(share))
            return True

        if left:
            self._visit(x, context, noise, adapt)

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

        self._visit(x, context, noise, refresh)
