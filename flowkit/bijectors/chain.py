"""Bijectors one after another."""

from collections.abc import Iterable
from typing import Annotated, Any

import keras

from flowkit.bijectors.composition import compose
from flowkit.bijectors.folding import fold, run_units
from flowkit.bijectors.replay import Backprop, Drift, refuse_backprop, refuse_unrepeatable, replay
from flowkit.contract import Bijector, FlowLayer
from flowkit.contract.arguments import listed
from flowkit.contract.derived import freezes
from flowkit.contract.noise import deal, given
from flowkit.contract.shapes import as_tuple
from flowkit.engines import engine


@keras.saving.register_keras_serializable("flowkit")
class Chain(Bijector):
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

    composite = True

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
        self.spec = compose(self, self.parts)
        self._drift = Drift(self)
        refuse_backprop(self)

    def split_levels(self) -> tuple[list[FlowLayer], FlowLayer | None]:
        if not self.parts:
            return [self], None
        before, last = self.parts[-1].split_levels()
        return ([*self.parts[:-1], *before], last) if last is not None else ([self], None)

    @property
    def num_classes(self) -> int | None:
        return next((p.num_classes for p in self.parts if p.num_classes is not None), None)

    def latent_rank(self, rank: int | None) -> int | None:
        for part in self.parts:
            rank = part.latent_rank(rank)
        return rank

    def build(self, x_shape: Any, context_shape: Any = None) -> None:
        for part in self.parts:
            part._check_shape(x_shape)
            part.build_for(x_shape, context_shape)
            x_shape = part.compute_output_shape(x_shape)
        if self.backprop != "stored":
            refuse_unrepeatable(self)

    def _check_shape(self, x_shape):
        super()._check_shape(x_shape)
        if self.built:  # before, some parts do not know yet what they give
            for part in self.parts:
                part._check_shape(x_shape)
                x_shape = part.compute_output_shape(x_shape)

    def run(self, x: Any, context: Any, inverse: bool, noise: Any = None) -> tuple[Any, Any]:
        if self.backprop != "stored" and not freezes():
            return replay(self, self.parts, x, context, inverse)
        log_dets = []
        for parts, share in self._given_noise(as_tuple(x.shape), inverse, noise):
            if share is None:
                units = fold(parts)
                x, more = run_units(units, [None] * len(units), x, context, inverse)
            else:
                (part,) = parts
                x, log_det = part.run(x, context, inverse=inverse, noise=share)
                more = [log_det]
            log_dets += more
        return x, engine.add_up(log_dets)

    # Noise

    def noise_needs(self, x_shape: Any, *, inverse: bool) -> Any:
        return sum(self._shares(x_shape, inverse=inverse), ())

    def _shares(self, x_shape, *, inverse):
        """What each part needs, in their order, for data of `x_shape`."""
        shares = []
        for part in self.parts:
            shares.append(part.noise_needs(x_shape, inverse=inverse))
            x_shape = part.compute_output_shape(x_shape)
        return shares

    def _given_noise(self, shape, inverse, noise):
        """The parts in the order in which a direction runs them: ([part, ...], noise), those without together."""
        if noise is None:
            return [(self.parts, None)]
        x_shape = self.compute_inverse_shape(shape) if inverse else shape
        runs = []
        for part, share in zip(self.parts, deal(noise, self._shares(x_shape, inverse=inverse)), strict=True):
            if share is None and runs and runs[-1][1] is None:
                runs[-1][0].append(part)
            else:
                runs.append(([part], share))
        return runs[::-1] if inverse else runs

    def forgets(self, *, inverse: bool) -> bool:
        return any(part.forgets(inverse=inverse) for part in self.parts)

    def tell_drift(self, error: float) -> None:
        """Warn of an input that was rebuilt with this relative error: the first, and any that is ten times worse."""
        self._drift.tell(error)

    def run_adapt(self, x: Any, context: Any, again: bool = True, noise: Any = None) -> None:
        for part, share in self._one_by_one(x, noise):
            part.run_adapt(x, context, again, **given(share))
            x, _ = part.run(x, context, inverse=False, **given(share))

    def run_adapt_inverse(self, z: Any, context: Any, again: bool = True, noise: Any = None) -> None:
        for parts, share in self._given_noise(as_tuple(z.shape), True, noise):
            for part in reversed(parts):
                part.run_adapt_inverse(z, context, again, **given(share))
                z, _ = part.run(z, context, inverse=True, **given(share))

    @property
    def refreshes(self) -> bool:
        return any(part.refreshes for part in self.parts)

    def run_refresh(self, x: Any, context: Any, noise: Any = None) -> None:
        left = sum(part.refreshes for part in self.parts)
        for part, share in self._one_by_one(x, noise):
            if part.refreshes:
                part.run_refresh(x, context, **given(share))
                left -= 1
            if not left:
                return
            x, _ = part.run(x, context, inverse=False, **given(share))

    def _one_by_one(self, x, noise):
        """Each part and its noise, forward."""
        if noise is None:
            return [(part, None) for part in self.parts]
        return zip(self.parts, deal(noise, self._shares(as_tuple(x.shape), inverse=False)), strict=True)

    def compute_output_shape(self, input_shape: Any) -> Any:
        for part in self.parts:
            input_shape = part.compute_output_shape(input_shape)
        return input_shape

    def compute_inverse_shape(self, latent_shape: Any) -> Any:
        for part in reversed(self.parts):
            latent_shape = part.compute_inverse_shape(latent_shape)
        return latent_shape
