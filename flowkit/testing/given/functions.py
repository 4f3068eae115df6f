"""Both directions of the float64 copies as compiled functions of tensors, with their derivatives."""

import keras
import numpy as np
from keras import ops

from flowkit import backends
from flowkit.contract.precision import rounding_unit
from flowkit.testing.given import contexts
from flowkit.testing.verdicts.narrowing import mixed, narrowed, told


class Functions:
    """Compile what the clauses need, once.

    `layer(event)` returns the float64 copy for an event, `declared(event)` the least precise type that the layer or a
    part of it declares.
    """

    def __init__(self, layer, declared):
        self._layer, self._declared = layer, declared
        self._made, self._eps = {}, {}
        self.narrow = {}  # what computes in less than float64, as `told`

    def value(self, event, inverse, with_context):
        """(x, context, noise) -> (value, log_det), compiled if the engine can; of what the direction is given."""

        def make(layer):
            return backends.compile_inference(direction(layer, inverse), layer)

        return self._kept(event, ("value", inverse, with_context), make)

    def jacobian(self, event, inverse, x_event, joint, with_context):
        """(x, context, noise) -> d value / dx for each sample, x flat: (batch, n).

        `joint`: (x and noise, context) -> d value / d (x, noise), both in one row: (batch, n + k).
        """
        size = int(np.prod(x_event))

        def make(layer):
            run = direction(layer, inverse)

            def value(row, *more):
                if joint:
                    row, more = row[:, :size], (*more, row[:, size:])
                return run(ops.reshape(row, (-1, *x_event)), *more)[0]

            return backends.compile_jacobian(value, layer)

        return self._kept(event, ("jacobian", inverse, joint, with_context), make)

    def gradient(self, event, inverse, of, with_context):
        """([x, *weights], cotangent, *context, *noise) -> sum(cotangent * output `of`), and its gradients.

        Values after the weights take the place of the floating-point arrays of the context, in turn.
        """

        def make(layer):
            run = direction(layer, inverse)

            def weighed(values, cotangent, *given):
                weights = values[1 : 1 + len(layer.trainable_variables)]
                mapping = list(zip(layer.trainable_variables, weights, strict=True))
                if moved := values[1 + len(weights) :]:
                    given = (contexts.replaced(given[0], iter(moved)), *given[1:])
                with keras.StatelessScope(state_mapping=mapping):
                    answer = run(values[0], *given)[of]
                return ops.sum(ops.cast(answer, "float64") * cotangent)

            return backends.compile_gradients(weighed)

        return self._kept(event, ("gradient", inverse, of, with_context), make)

    def eps(self, event, inverse, *given):
        """The rounding unit of what the float64 copy really computes in, in a direction `given` x, context, noise.

        Raises `Broken` if that is less precise than what the layer declares.
        """
        key = event, inverse
        if key not in self._eps:
            layer = self._layer(event)
            steps = []
            try:
                lowest = backends.lowest_float(direction(layer, inverse), *tensors(*given), steps=steps)
            except Exception as error:  # whatever an author's code raises
                broken = mixed(error, steps)
                if broken is None:
                    raise
                raise broken from error
            declared = self._declared(event)
            if rounding_unit(lowest) > rounding_unit(declared):
                self._eps[key] = lowest, declared, steps
            else:
                self.narrow.update(told(steps))
                # What a layer holds may have been computed in less than it is now used in.
                self._eps[key] = max(map(rounding_unit, (lowest, getattr(layer, "precision", "float64"))))
        if isinstance(self._eps[key], tuple):
            raise narrowed(*self._eps[key])
        return self._eps[key]

    def _kept(self, event, what, make):
        if (event, what) not in self._made:
            self._made[event, what] = make(self._layer(event))
        return self._made[event, what]


def direction(layer, inverse):
    """One direction of `layer` as a function of x, then of its context and its noise, as far as it is given them."""

    def run(x, *given):
        named = {}
        if layer.spec.draws(inverse=inverse):
            *given, named["noise"] = given
        if given:
            (named["context"],) = given
        return layer(x, inverse=inverse, **named)

    return run


def tensors(x, context, noise=None):
    """The arguments of a direction as tensors of the current default precision."""
    x, noise = (
        None if given is None else ops.convert_to_tensor(given, dtype=keras.config.floatx())
        for given in (x, noise)
    )
    return tuple(given for given in (x, contexts.tensor(context), noise) if given is not None)
