"""A bijector of another library that answers like one of flowkit's."""

import copy

from keras import ops

from flowkit.contract import Bijector, BijectorSpec

NOT_APPLICABLE = {
    "shape inference",
    "log-det kind",
    "empty batch",
    "context",
    "config",
    "saving",
    "adaptation",
    "compiled",
    "mixed precision",
    "wrong rank",
    "wrong size",
}
"""Clauses that ask about Keras, or about promises that other libraries do not make."""


class Adapted(Bijector):
    """`convention` = (forward, inverse, cast, domain, codomain), functions of the object; see `conventions`."""

    not_applicable = "another library's bijector"

    def __init__(self, obj, convention, event, **kwargs):
        super().__init__(**kwargs)
        self.__dict__["held"] = convention.cast(
            copy.deepcopy(obj), self.compute_dtype
        )  # Keras tracks no part of it
        self.__dict__["convention"] = convention
        self.event, self.precision = event, convention.precision
        self.spec = BijectorSpec(
            event_rank=len(event),
            domain=convention.domain(obj),
            codomain=convention.codomain(obj),
        )

    def remade(self, dtype=None):
        """A copy of another precision: it has no config to be made from."""
        return Adapted(self.held, self.convention, self.event, dtype=dtype or "float32")

    def _forward(self, x):
        return self._per_event(*self.convention.forward(self.held, x))

    def _inverse(self, z):
        return self._per_event(*self.convention.inverse(self.held, z))

    def _per_event(self, value, log_det):
        axes = tuple(range(1, len(log_det.shape)))
        return value, ops.sum(log_det, axis=axes) if axes else log_det

    def get_config(self):
        return {**super().get_config(), "of": f"{type(self.held).__module__}.{type(self.held).__qualname__}"}
