"""Bijectors one after another. An `ActNorm` right before a `Conv1x1` goes into its matrix: one product for both."""

from collections.abc import Iterable
from typing import Annotated, Any

from flowkit.bijectors.replay import Backprop, Drift, Replayed, replay
from flowkit.contract import BijectorSpec, FlowLayer, Shape, Tensor
from flowkit.contract.arguments import listed
from flowkit.contract.call import Call, goes_with
from flowkit.engines import engine


class Folded:
    """Run two layers as one step: the scale of the first goes into the matrix of the second.

    The first has `_leave_scale(derived)`, which returns (the rest of its derived values, the scale, its log-det). The
    second has `_take_scale(derived, scale, log_det, inverse)`, which returns derived values that include the scale.
    """

    composite = False

    def __init__(self, first: FlowLayer, second: FlowLayer) -> None:
        self.parts = first, second

    def compute_output_shape(self, x_shape: Shape) -> Shape:
        """Return the latent's shape, which is that of the data."""
        return x_shape

    compute_inverse_shape = compute_output_shape

    def derive(self, x_shape: Shape, inverse: bool) -> Any:
        """Return the derived values of both layers."""
        first, second = self.parts
        left, scale, log_det = first._leave_scale(first._derive(x_shape, inverse))
        return [left, second._take_scale(second._derive(x_shape, inverse), scale, log_det, inverse)]

    def run(
        self, x: Tensor, call: Call, noise: Tensor | None = None, derived: Any = None
    ) -> tuple[Tensor, Tensor]:
        """Run both layers in the order of the direction."""
        pairs = list(
            zip(self.parts, self.derive(x.shape, call.inverse) if derived is None else derived, strict=True)
        )
        (first, own), (second, other) = reversed(pairs) if call.inverse else pairs
        x, log_det = first.run(x, call, None, own)
        y, more = second.run(x, call, None, other)
        return y, log_det + more


def fold(parts: Iterable[FlowLayer]) -> list[Any]:
    """Return the steps that run `parts`, in the order of the forward direction: a layer each, or two `Folded`.

    The parts of a chain inside take its place, unless its class overrides `run` or `derive`, or it keeps less than all
    activations for the backward pass.
    """
    steps: list[Any] = []
    for part in parts:
        overridden = type(part).run is not Chain.run or type(part).derive is not Chain.derive
        if isinstance(part, Chain) and part.backprop == "stored" and not overridden:
            steps += fold(part.parts)
        elif steps and _has(part, "_take_scale") and _has(steps[-1], "_leave_scale"):
            steps[-1] = Folded(steps[-1], part)
        else:
            steps.append(part)
    return steps


def _has(part, method):
    """Return True if a part has the method and no subclass has replaced the hooks that it was written for."""
    hooks = ("_forward", "_inverse", "_derive", "run", "derive")
    return hasattr(part, method) and all(goes_with(type(part), method, hook) for hook in hooks)


class Steps:
    """Run built layers one after another. They are folded unless noise is dealt out to them.

    Keras does not track the layers in it, which are those of a chain.
    """

    def __init__(self, parts: list[FlowLayer], spec: BijectorSpec) -> None:
        self.steps = fold(parts) if spec.noise == "none" else list(parts)
        self.nothing = [None] * len(self.steps)
        self.order = {False: range(len(self.steps)), True: range(len(self.steps))[::-1]}

    def derive(self, x_shape: Shape, inverse: bool, *, stacked: bool = False) -> list[Any]:
        """Return what each step derives from its weights, for inputs of `x_shape`.

        With `stacked` the weights have a leading axis, and a step that runs other layers derives nothing: None.
        """
        derived = list(self.nothing)
        for i in self.order[inverse]:
            step = self.steps[i]
            if not (stacked and step.composite):
                derived[i] = step.derive(x_shape, inverse)
            x_shape = (step.compute_inverse_shape if inverse else step.compute_output_shape)(x_shape)
        return derived

    def run(self, x: Tensor, call: Call, noise: Any = None, derived: Any = None) -> tuple[Tensor, Tensor]:
        """Return (output, log-det). `noise` and `derived` hold a value or None for each step."""
        noise, derived = noise or self.nothing, derived or self.nothing
        total: Any = 0.0
        for i in self.order[call.inverse]:
            x, log_det = self.steps[i].run(x, call, noise[i], derived[i])
            total = total + log_det
        return x, total


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
    Domain.POSITIVE
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
        self._steps = Steps(self.parts, self.spec)

    def _check_shape(self, x_shape):
        super()._check_shape(x_shape)
        if self.built:  # before, some parts do not know yet what they give
            for part in self.parts:
                part._check_shape(x_shape)
                x_shape = part.compute_output_shape(x_shape)

    def derive(self, x_shape: Shape, inverse: bool) -> Any:
        return self._steps.derive(x_shape, inverse)

    def run(
        self, x: Tensor, call: Call, noise: Tensor | None = None, derived: Any = None
    ) -> tuple[Tensor, Tensor]:
        if self.backprop != "stored" and engine.records_gradients() and not call.for_export:
            return replay(self, self.parts, x, call)
        return self._steps.run(
            x, call, noise if noise is None else self._split_noise(noise, x, call.inverse), derived
        )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        for part in self.parts:
            input_shape = part.compute_output_shape(input_shape)
        return input_shape

    def compute_inverse_shape(self, latent_shape: Shape) -> Shape:
        for part in reversed(self.parts):
            latent_shape = part.compute_inverse_shape(latent_shape)
        return latent_shape
