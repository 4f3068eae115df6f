"""Both directions of the float64 copies as compiled functions of tensors, with their derivatives."""

import keras
from keras import ops

from flowkit import backends
from flowkit.contract.precision import rounding_unit
from flowkit.testing.given import contexts
from flowkit.testing.verdicts.narrowing import mixed, told


class Functions:
    """Compiles what the clauses ask for, once. `layer(event)` gives the float64 copy for an event."""

    def __init__(self, layer):
        self._layer = layer
        self._made, self._eps = {}, {}
        self.narrow = {}  # what computes in less than float64, as `told`

    def value(self, event, inverse, with_context):
        """(x, context) -> (value, log_det), compiled if the engine can."""

        def make(layer):
            return backends.compile_inference(direction(layer, inverse), layer)

        return self._kept(event, ("value", inverse, with_context), make)

    def jacobian(self, event, with_context):
        """(x, context) -> d forward / dx for each sample."""

        def make(layer):
            run = direction(layer, inverse=False)
            return backends.compile_jacobian(lambda *args: run(*args)[0], layer)

        return self._kept(event, ("jacobian", with_context), make)

    def gradient(self, event, inverse, of, with_context):
        """([x, *weights], cotangent, *context) -> sum(cotangent * output `of`), and its gradients."""

        def make(layer):
            run = direction(layer, inverse)

            def weighed(values, cotangent, *context):
                mapping = list(zip(layer.trainable_variables, values[1:], strict=True))
                with keras.StatelessScope(state_mapping=mapping):
                    answer = run(values[0], *context)[of]
                return ops.sum(ops.cast(answer, "float64") * cotangent)

            return backends.compile_gradients(weighed)

        return self._kept(event, ("gradient", inverse, of, with_context), make)

    def eps(self, event, inverse, x, context):
        """The rounding unit of what the float64 copy really computes in, in that direction."""
        key = event, inverse
        if key not in self._eps:
            layer = self._layer(event)
            steps = []
            try:
                lowest = backends.lowest_float(direction(layer, inverse), *tensors(x, context), steps=steps)
            except Exception as error:  # whatever an author's code raises
                broken = mixed(error, steps)
                if broken is None:
                    raise
                raise broken from error
            self.narrow.update(told(steps))
            # What a layer holds may have been computed in less than it is now used in.
            self._eps[key] = max(map(rounding_unit, (lowest, getattr(layer, "precision", "float64"))))
        return self._eps[key]

    def _kept(self, event, what, make):
        if (event, what) not in self._made:
            self._made[event, what] = make(self._layer(event))
        return self._made[event, what]


def direction(layer, inverse):
    """One direction of `layer` as a function of (x), or (x, context)."""

    def run(x, context=None):
        return layer(x, context=context, inverse=inverse)

    return run


def tensors(x, context):
    """The arguments of a direction as tensors of the current default precision."""
    x = ops.convert_to_tensor(x, dtype=keras.config.floatx())
    return (x,) if context is None else (x, contexts.tensor(context))
