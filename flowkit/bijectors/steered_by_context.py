"""Layers whose parameters are weights, which a network of the context may move."""

import math
from typing import Any

import numpy as np
from keras import ops

from flowkit.contract import Bijector, BijectorSpec
from flowkit.contract.arguments import Seed
from flowkit.contract.conditioner import (
    Network,
    adapt_conditioner,
    ask,
    build_on_context,
    refresh_conditioner,
    refreshes,
    refuse_second_input,
)


class SteeredByContext(Bijector):
    """A bijector on vectors whose parameters are weights; with a `conditioner`, weights + conditioner(context).

    The network is given the context as its input. Its answer starts at zero, and the weights do not: at zero some
    layers would have no gradient.

    A subclass says in `_starts(size)` where its parameters start, and is given them by `_steered(context)`. Raises
    TypeError for no network; ContractError for one that expects a context beside its input, and for a context that is
    not vectors (batch, k).
    """

    inverse_kind = "analytic"  # or "iterative"

    def __init__(self, conditioner: Network = None, *, seed: Seed | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        refuse_second_input(self, conditioner)
        self.conditioner, self.seed = conditioner, seed
        context = "none" if conditioner is None else "required"
        self.spec = BijectorSpec(event_rank=1, inverse=self.inverse_kind, context=context)

    @property
    def num_classes(self) -> int | None:
        return getattr(self.conditioner, "num_classes", None)

    def _starts(self, size: int) -> dict[str, np.ndarray]:
        """Where the parameters start, by their names."""
        raise NotImplementedError

    def build(self, x_shape: Any, context_shape: Any = None) -> None:
        self.own = {
            name: self.add_weight(
                shape=value.shape,
                initializer=lambda shape, dtype, value=value: ops.convert_to_tensor(value, dtype=dtype),
                name=name,
            )
            for name, value in self._starts(x_shape[-1]).items()
        }
        if self.conditioner is None:
            return
        features = sum(math.prod(weight.shape) for weight in self.own.values())
        build_on_context(self, self.conditioner, features, context_shape)

    def _steered(self, context):
        """The parameters in the order of `_starts`: (batch, *shape), or (1, *shape) if they are the same for all."""
        weights = [ops.expand_dims(weight.value, 0) for weight in self.own.values()]
        if self.conditioner is None:
            return weights
        answer, start = ask(self.conditioner, context, None, self.compute_dtype), 0
        moved = []
        for weight in weights:
            stop = start + math.prod(weight.shape)
            moved.append(weight + ops.reshape(answer[:, start:stop], (-1, *weight.shape[1:])))
            start = stop
        return moved

    def run_adapt(self, x: Any, context: Any, again: bool = True, noise: Any = None) -> None:
        adapt_conditioner(self.conditioner, context, None, again)

    @property
    def refreshes(self) -> bool:
        return refreshes(self.conditioner)

    def run_refresh(self, x: Any, context: Any, noise: Any = None) -> None:
        refresh_conditioner(self.conditioner, context, None)
