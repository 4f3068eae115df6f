"""Bijectors one after another, run as units: two parts cost less as one if a scale goes into the matrix after it."""

from collections.abc import Iterable
from typing import Annotated, Any

from flowkit.bijectors.composite import proceed
from flowkit.bijectors.replay import Backprop, Drift, Replayed, replay
from flowkit.contract import Context, FlowLayer, Shape, Tensor
from flowkit.contract.arguments import listed
from flowkit.contract.derived import as_keyword, freezes, goes_with, once
from flowkit.contract.noise import given
from flowkit.contract.shapes import as_tuple


def fold(parts):
    """Return `parts` in their order as tuples: of two if the first may leave its scale to the second, of one otherwise.

    The first has `_leave_scale(derived)`, which returns (the rest of what it derives, the scale, its log-det), the
    second `_take_scale(derived, scale, log_det, inverse)`, which returns what it derives with that scale in it.
    """
    units = []
    for part in parts:
        before = units[-1][0] if units and len(units[-1]) == 1 else None
        if _has(part, "_take_scale") and _has(before, "_leave_scale"):
            units[-1] = (before, part)
        else:
            units.append((part,))
    return units


def _has(part, method):
    """Return True if a part has the method and no subclass has replaced the hooks that it was written for."""
    hooks = ("_forward", "_inverse", "_derive")
    return hasattr(part, method) and all(goes_with(type(part), method, hook) for hook in hooks)


def derived_of(unit, x_shape, inverse):
    """Return what the parts of a unit derive from their weights, in their order, for inputs of `x_shape`."""
    name = tuple(unit), as_tuple(x_shape[1:]), inverse  # a part that comes twice may see two shapes
    return once(name, lambda: _derived_of(unit, x_shape, inverse))


def _derived_of(unit, x_shape, inverse):
    derived = [part._derive(x_shape, inverse) for part in unit]
    if len(unit) > 1:
        left, scale, log_det = unit[0]._leave_scale(derived[0])
        derived = [left, unit[1]._take_scale(derived[1], scale, log_det, inverse)]
    return derived


def run_units(units, derived, x, context, inverse):
    """Run the parts of `units` one after another: (output, list of log-dets).

    `derived[i]` is what the parts of unit i derive from their weights, None if they derive it themselves.
    """
    log_dets, order = [], list(zip(units, derived, strict=True))
    for unit, own in reversed(order) if inverse else order:
        if own is None:
            own = derived_of(unit, x.shape, inverse) if len(unit) > 1 else [None]
        steps = list(zip(unit, own, strict=True))
        for part, one in reversed(steps) if inverse else steps:
            x, log_det = part.run(x, context, inverse=inverse, **as_keyword(one))
            log_dets.append(log_det)
    return x, log_dets


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
            raise ValueError("Chain: got a part twice, expected each once, since a file would keep two.")
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
