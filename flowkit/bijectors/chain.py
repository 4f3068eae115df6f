"""Bijectors one after another."""

from collections.abc import Iterable
from typing import Annotated, Any

from flowkit.bijectors.composite import proceed
from flowkit.bijectors.folding import fold, run_units
from flowkit.bijectors.replay import Backprop, Drift, Replayed, replay
from flowkit.contract import Context, FlowLayer, Shape, Tensor
from flowkit.contract.arguments import listed
from flowkit.contract.derived import freezes
from flowkit.contract.noise import given


class Chain(Replayed):
    """z = (f_n o ... o f_1)(x): `Chain([a, b])` is a, then b. Log-dets add up.

    `backprop` says what is kept for the backward pass. Values and gradients are the same.

    - "stored": all activations, as engines do; memory grows with depth.
    - "recompute": each part's input; the backward pass runs the part once more (Chen et al., Training
      Deep Nets with Sublinear Memory Cost, 2016). Couplings' networks, which need the most, keep nothing.
    - "reversible": the chain's input and output, whatever the depth; the backward pass finds each part's input
      by its inverse (Gomez et al., The Reversible Residual Network, 2017). Rounding adds up on the way
      back: a relative error of the input above 6e-5 (float32) is warned of, except if XLA has
      compiled TensorFlow's step, which cannot report.

    The last two cost a third more computation for couplings, as the network runs once more. They refuse second
    derivatives, and need parts that answer the same each time: no dropout.

    The spec follows from the parts. Raises ContractError, when it is made, for parts that do not
    fit: a codomain that is not the next part's domain, or an event rank that the next cannot take;
    with "reversible" for sequential and iterative inverses, and when it is built for a part that cannot be run once
    more.

    >>> from flowkit.bijectors import Exp, Shift
    >>> Chain([Shift(1.0), Exp()]).spec.codomain
    Domain(kind='interval', low=0.0, high=inf)
    """

    def __init__(
        self,
        parts: Annotated[Iterable[Any], listed(FlowLayer, "bijectors")],
        *,
        backprop: Backprop = "stored",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.parts, self.backprop = list(parts), backprop
        if len({id(part) for part in self.parts}) < len(self.parts):
            raise ValueError("Chain expects parts that differ, received one twice: a file would keep two.")
        self._drift = Drift(self)
        self._declare()

    def split_levels(self) -> tuple[list[FlowLayer], FlowLayer | None]:
        if not self.parts:
            return [self], None
        before, last = self.parts[-1].split_levels()
        return ([*self.parts[:-1], *before], last) if last is not None else ([self], None)

    @property
    def _members(self):
        return self.parts

    def latent_rank(self, rank: int | None) -> int | None:
        for part in self.parts:
            rank = part.latent_rank(rank)
        return rank

    def build(self, x_shape: Shape, context_shape: Shape | None = None) -> None:
        for part in self.parts:
            part._check_shape(x_shape)
            part.build_for(x_shape, context_shape)
            x_shape = part.compute_output_shape(x_shape)
        self._declare_built()

    def _check_shape(self, x_shape):
        super()._check_shape(x_shape)
        if self.built:  # before, some parts do not know yet what they give
            for part in self.parts:
                part._check_shape(x_shape)
                x_shape = part.compute_output_shape(x_shape)

    def run(
        self, x: Tensor, context: Context, inverse: bool, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        if self.backprop != "stored" and not freezes():
            return replay(self, self.parts, x, context, inverse)
        if noise is not None:
            return super().run(x, context, inverse, noise)
        units = fold(self.parts)
        x, log_dets = run_units(units, [None] * len(units), x, context, inverse)
        return x, sum(log_dets, 0.0)

    def _travel(self, x, context, noise, inverse, visit=proceed):
        steps, log_dets = list(zip(self.parts, self._deal(noise, x, inverse=inverse), strict=True)), []
        for part, share in reversed(steps) if inverse else steps:
            found = visit(part, x, share)
            if found is True:
                break
            x, log_det = found or part.run(x, context, inverse=inverse, **given(share))
            log_dets.append(log_det)
        return x, log_dets

    def _shapes(self, x_shape):
        shapes = [x_shape]
        for part in self.parts[:-1]:
            shapes.append(part.compute_output_shape(shapes[-1]))
        return shapes[: len(self.parts)]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        for part in self.parts:
            input_shape = part.compute_output_shape(input_shape)
        return input_shape

    def compute_inverse_shape(self, latent_shape: Shape) -> Shape:
        for part in reversed(self.parts):
            latent_shape = part.compute_inverse_shape(latent_shape)
        return latent_shape
