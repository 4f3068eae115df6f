"""Base classes of layers with a conditioner, and of those whose conditioner steers a transform."""

import math
from typing import Any

from keras import ops

from flowkit.contract import Bijector, BijectorSpec, Context, ContractError, Tensor
from flowkit.contract.conditioner import (
    Network,
    NetworkOfContext,
    adapt_conditioner,
    ask,
    build_on_context,
    context_of,
    derive,
    refresh_conditioner,
    refreshes,
    split_parameters,
)
from flowkit.engines import engine
from flowkit.transforms import Additive, Affine, Transform

WORDS = {"affine": Affine, "additive": Additive}


def transform_of(transform: str | Transform) -> Transform:
    """Return the transform, or that of a word. Raises ValueError for other words, TypeError for other objects."""
    if isinstance(transform, str):
        if transform not in WORDS:
            raise ValueError(
                f"transform: got {transform!r}, expected one of {', '.join(map(repr, WORDS))}, or a Transform such as "
                "RationalQuadratic()."
            )
        return WORDS[transform]()
    if not isinstance(transform, Transform):
        raise TypeError(f"transform: got {transform!r}, expected a flowkit.transforms.Transform.")
    return transform


class ConditionalBijector(Bijector):
    """A bijector whose `conditioner`, a network or None, receives what `_seen` returns: the context, by default."""

    conditioner: Any  # without a value here, which on torch would hide a layer's own

    @property
    def num_classes(self) -> int | None:
        return getattr(self.conditioner, "num_classes", None)

    def _seen(self, x, context):
        """Return what the conditioner is called with: (input, context)."""
        return context, None

    def run_adapt(self, x: Tensor, context: Context, again: bool = True, noise: Tensor | None = None) -> None:
        adapt_conditioner(self.conditioner, *self._seen(x, context), again)

    @property
    def refreshes(self) -> bool:
        return refreshes(self.conditioner)

    def run_refresh(self, x: Tensor, context: Context, noise: Tensor | None = None) -> None:
        refresh_conditioner(self.conditioner, *self._seen(x, context))


class AmortizedBijector(ConditionalBijector):
    """A bijector on vectors with weights to which a `conditioner`, a network of the context or None, adds its answer.

    Raises TypeError for no network; ContractError for one that expects a context beside its input, and for one that
    does not return a vector for each sample.
    """

    inverse_kind = "analytic"  # or "iterative"

    def __init__(self, conditioner: NetworkOfContext = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conditioner = conditioner
        context = "none" if conditioner is None else "required"
        self.spec = BijectorSpec(event_rank=1, inverse=self.inverse_kind, context=context)

    def _build_amortized(self, weights, context_shape):
        """Build the conditioner, which adds to `weights`."""
        if self.conditioner is not None:
            features = sum(math.prod(weight.shape) for weight in weights)
            build_on_context(self, self.conditioner, features, context_shape)

    def _amortized(self, weights, context):
        """Return each of `weights` for a context: (batch, *shape), or (1, *shape) without a conditioner."""
        moved = [ops.expand_dims(weight.value, 0) for weight in weights]
        if self.conditioner is None:
            return moved
        answer = ask(self.conditioner, context, None, self.compute_dtype)
        shares = zip(moved, engine.split(answer, [math.prod(weight.shape) for weight in moved]), strict=True)
        return [weight + ops.reshape(share, (-1, *weight.shape[1:])) for weight, share in shares]


class TransformBijector(ConditionalBijector):
    """A bijector that moves entries by its `transform`, with parameters from its `conditioner`.

    A subclass chooses the entries that are moved, and the input of the conditioner: `_seen`.
    """

    runs_hooks = False
    takes_derived = True, True  # `_derive` is that of the conditioner, and `run` passes it on
    layout = "contiguous"  # the order of the conditioner's channels

    def __init__(self, conditioner: Network, transform: str | Transform, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conditioner = conditioner
        self.transform = transform_of(transform)

    def _transform_spec(self, **changed):
        """Return the spec that follows from the transform and the conditioner, but for what is `changed`."""
        words = {
            "domain": self.transform.domain,
            "codomain": self.transform.codomain,
            "log_det": self.transform.log_det,
            "inverse": self.transform.inverse_kind,
            "context": context_of(self.conditioner),
            "bounded": self.transform.bounded,
            "fixed_axes": getattr(self.conditioner, "fixed_axes", "channels"),
        }
        return BijectorSpec(**words | changed)

    def _refuse_two_sets(self):
        """Raise ContractError for a transform between two different sets: what is kept would be in the wrong one."""
        transform = self.transform
        if transform.domain != transform.codomain:
            wanted = "a transform from a set onto itself"
            received = f"{transform!r}, from {transform.domain} onto {transform.codomain}"
            raise ContractError("domain", self, expected=wanted, received=received)

    def _derive(self, x_shape, inverse):
        return derive(self.conditioner, self._seen_shape(x_shape))

    def _seen_shape(self, x_shape):
        """Return the shape of the input of the conditioner, for inputs of `x_shape`."""
        return x_shape

    def _prepare(self, seen, call, derived=None, transform=None):
        """Return what the `transform`, None for the layer's, makes of the conditioner's output h for what it sees.

        With a guidance w it takes h + w (h - h without a context).
        """
        h = ask(self.conditioner, seen, call.context, self.compute_dtype, derived)
        if call.guidance and (guidance := self._guidance(call)):
            free = ask(self.conditioner, seen, None, self.compute_dtype, derived)
            h = h + guidance * (h - free)
        transform = transform or self.transform
        return transform.prepare(split_parameters(h, transform.parameters, self.layout))

    def _guidance(self, call):
        """Return the weight of a call's guidance; None for none, and for a layer without an optional context."""
        return call.guidance if call.context is not None and self.spec.context == "optional" else None
