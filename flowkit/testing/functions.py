"""Both directions of the float64 copies as compiled functions of tensors, with derivatives and precision."""

import functools

import keras
import numpy as np
from keras import ops

from flowkit.contract.precision import rounding_unit
from flowkit.engines import engine
from flowkit.testing import inputs
from flowkit.testing.causes import mixed, narrow_places, narrowed


class Functions:
    """Compile what the clauses need, once.

    `layer(event)` returns the float64 copy for an event, `declared(event)` the least precise type that the layer or a
    part of it declares. `narrow` holds what computes in less than float64, as `narrow_places`.
    """

    def __init__(self, layer, declared):
        self._layer, self._declared, self._precisions, self.narrow = layer, declared, {}, {}
        for name in ("value", "jacobian", "gradient"):
            setattr(self, name, functools.cache(getattr(self, f"_{name}")))

    def _value(self, event, inverse, with_context):
        """(x, context, noise) -> (value, log_det), compiled if the engine can; of what the direction is given."""
        layer = self._layer(event)
        return engine.compile_inference(direction(layer, inverse), layer)

    def _jacobian(self, event, inverse, x_event, joint, with_context):
        """(x, context, noise) -> d value / dx for each sample, x flat: (batch, n).

        `joint`: (x and noise, context) -> d value / d (x, noise), both in one row: (batch, n + k).
        """
        layer, size = self._layer(event), int(np.prod(x_event))
        run = direction(layer, inverse)

        def value(row, *more):
            if joint:
                row, more = row[:, :size], (*more, row[:, size:])
            return run(ops.reshape(row, (-1, *x_event)), *more)[0]

        return engine.compile_jacobian(value, layer)

    def _gradient(self, event, inverse, of, with_context):
        """([x, *weights], cotangent, *context, *noise) -> sum(cotangent * output `of`), and its gradients.

        Values after the weights take the place of the floating-point arrays of the context, in turn.
        """
        layer = self._layer(event)
        run, trained = direction(layer, inverse), layer.trainable_variables

        def weighed(values, cotangent, *given):
            weights, moved = values[1 : 1 + len(trained)], values[1 + len(trained) :]
            if moved:
                given = (inputs.replaced(given[0], iter(moved)), *given[1:])
            with keras.StatelessScope(state_mapping=list(zip(trained, weights, strict=True))):
                answer = run(values[0], *given)[of]
            return ops.sum(ops.cast(answer, "float64") * cotangent)

        return engine.compile_gradients(weighed)

    def eps(self, event, inverse, *given):
        """Return the rounding unit of what the float64 copy really computes in, in a direction of x, context, noise.

        Raises `Broken` if that is less precise than what the layer declares.
        """
        layer = self._layer(event)
        if (event, inverse) not in self._precisions:
            steps = []
            try:
                lowest = engine.lowest_float(direction(layer, inverse), *tensors(*given), steps=steps)
            except Exception as error:  # whatever an author's code raises
                if broken := mixed(error, steps):
                    raise broken from error
                raise
            self._precisions[event, inverse] = lowest, self._declared(event), steps
        lowest, declared, steps = self._precisions[event, inverse]
        if rounding_unit(lowest) > rounding_unit(declared):
            raise narrowed(lowest, declared, steps)
        self.narrow.update(narrow_places(steps))
        # What a layer holds may have been computed in less than it is now used in.
        return max(map(rounding_unit, (lowest, getattr(layer, "precision", "float64"))))


def direction(layer, inverse):
    """Return one direction of `layer` as a function of x, then of its context and its noise, if it receives them."""

    def run(x, *given):
        named = {}
        if layer.spec.draws(inverse=inverse):
            *given, named["noise"] = given
        if given:
            (named["context"],) = given
        return layer(x, inverse=inverse, **named)

    return run


def tensors(x, context=None, noise=None):
    """Return the arguments of a direction as tensors of the current default precision."""
    x, noise = (
        None if given is None else ops.convert_to_tensor(given, dtype=keras.config.floatx())
        for given in (x, noise)
    )
    return tuple(given for given in (x, inputs.tensor(context), noise) if given is not None)
