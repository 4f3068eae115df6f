"""A bijector of another library that answers like one of flowkit's."""

import numpy as np
from keras import ops

from flowkit.contract import Bijector, BijectorSpec, ContractError

NOT_APPLICABLE = {
    "shape inference",
    "log-det kind",
    "empty batch",
    "context",
    "noise",
    "refresh",
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
    """`given` called as its library's `convention` says, in this layer's precision."""

    not_applicable = "not applicable: another library's bijector"

    def __init__(
        self, given, convention, event, *, domain, codomain, inverse, solver_gradients=True, **kwargs
    ):
        super().__init__(**kwargs)
        held = convention.copied(given, self.compute_dtype)
        self.__dict__.update(given=given, held=held, convention=convention)  # Keras tracks no part of them
        self.event = tuple(event)
        self.precision = convention.precision(given)
        self.spec = BijectorSpec(
            event_rank=len(self.event),
            event_multiple=self.event,
            domain=domain,
            codomain=codomain,
            inverse=inverse,
            solver_gradients=solver_gradients,
        )

    def remade(self, dtype=None):
        """A copy of another precision: it has no config to be made from."""
        spec = self.spec
        return Adapted(
            self.given,
            self.convention,
            self.event,
            domain=spec.domain,
            codomain=spec.codomain,
            inverse=spec.inverse,
            solver_gradients=spec.solver_gradients,
            dtype=dtype or "float32",
        )

    def build(self, x_shape):
        if tuple(x_shape[1:]) != self.event:
            raise ContractError(
                "event shape",
                self,
                expected=f"events of shape {self.event}, as told to adapt",
                received=f"{tuple(x_shape[1:])}",
                hint="Pass adapt(..., event_shape=) for another.",
            )

    def _forward(self, x):
        return self._per_event(*self.convention.forward(self.held, x))

    def _inverse(self, z):
        return self._per_event(*self.convention.inverse(self.held, z))

    def _per_event(self, value, log_det):
        """One log-det for each sample, whether the library gives it for each number, each event or once."""
        log_det = ops.convert_to_tensor(log_det)
        axes = tuple(range(1, len(log_det.shape)))
        return value, ops.sum(log_det, axis=axes) if axes else log_det

    def compute_output_shape(self, input_shape):
        return input_shape[0], *self._latent_event()

    def compute_inverse_shape(self, latent_shape):
        return latent_shape[0], *self.event

    def _latent_event(self):
        """Learnt by trying: the libraries have no one way of saying it."""
        if "_latent" not in self.__dict__:
            t = np.linspace(-0.5, 0.5, 2 * int(np.prod(self.event))).reshape(2, *self.event)
            x = self.spec.domain.from_real(ops.convert_to_tensor(t.astype(self.compute_dtype)))
            self.__dict__["_latent"] = tuple(self.convention.forward(self.held, x)[0].shape[1:])
        return self._latent

    def get_config(self):
        return {
            **super().get_config(),
            "of": f"{type(self.given).__module__}.{type(self.given).__qualname__}",
            "event_shape": self.event,
        }
