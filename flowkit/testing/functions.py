"""Both directions of the float64 copies as compiled functions of tensors, with derivatives and precision."""

import functools
import math

import keras
from keras import ops

from flowkit.bijectors.solvers import solving
from flowkit.contract.precision import rounding_unit
from flowkit.engines import engine
from flowkit.testing.causes import mixed, narrow_places, narrowed
from flowkit.testing.inputs import direction, replaced


class Functions:
    """Compile what the clauses need, once.

    `layer(event)` returns the float64 copy for an event, `declared(event)` the least precise type that the layer or a
    part of it declares. `narrow` holds what computes in less than float64, as `narrow_places`.
    """

    def __init__(self, layer, declared):
        self._layer, self._declared, self._precisions, self.narrow = layer, declared, {}, {}
        for name in ("value", "jacobian", "gradient"):
            setattr(self, name, functools.cache(getattr(self, f"_{name}")))

    def _value(self, event, inverse, finer=False):
        """Return (x, context, noise) -> (value, log_det), compiled if the engine can.

        `finer` solves differential equations with more steps, see `flowkit.bijectors.solvers.Solver.finer`.
        """
        layer = self._layer(event)
        return engine.compile_inference(_solved(direction(layer, inverse), finer), layer)

    def _jacobian(self, event, inverse, x_event, joint, finer=False):
        """Return (rows, context, noise) -> d value / d row for each sample, rows flat: (batch, n).

        `joint`: a row holds x, then its noise: (batch, n + k). `finer`: see `_value`.
        """
        layer, size = self._layer(event), math.prod(x_event)
        run = _solved(direction(layer, inverse), finer)

        def value(row, context, noise):
            if joint:
                row, noise = row[:, :size], row[:, size:]
            return run(ops.reshape(row, (-1, *x_event)), context, noise)[0]

        return engine.compile_jacobian(value, layer)

    def _gradient(self, event, inverse, of):
        """Return ([x, *weights], cotangent, context, noise) -> sum(cotangent * output `of`), its gradients.

        Values after the weights take the place of the floating-point arrays of the context, in turn.
        """
        layer = self._layer(event)
        run, trained = direction(layer, inverse), layer.trainable_variables

        def weighed(values, cotangent, context, noise):
            weights, moved = values[1 : 1 + len(trained)], values[1 + len(trained) :]
            if moved:
                context = replaced(context, iter(moved))
            with keras.StatelessScope(state_mapping=list(zip(trained, weights, strict=True))):
                answer = run(values[0], context, noise)[of]
            return ops.sum(ops.cast(answer, "float64") * cotangent)

        return engine.compile_gradients(weighed)

    def eps(self, event, inverse, given):
        """Return the rounding unit of what the float64 copy really computes in, in a direction with these inputs.

        Raises `Broken` if that is less precise than what the layer declares.
        """
        layer = self._layer(event)
        if (event, inverse) not in self._precisions:
            steps = []
            try:
                lowest = engine.lowest_float(direction(layer, inverse), *given.tensors(), steps=steps)
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


def _solved(run, finer):
    """Return `run` with finer solves of differential equations, or as it is."""
    if not finer:
        return run

    def solved(*args):
        with solving(finer=True):
            return run(*args)

    return solved


def gradients(layer, inverse, given, variables, values=None):
    """Return the gradients of a function of both outputs for the points and some variables, perhaps at other `values`.

    `given` holds tensors.
    """
    x, context, noise = given
    run = direction(layer, inverse)

    def loss(values):
        x, *rest = values
        with keras.StatelessScope(state_mapping=list(zip(variables, rest, strict=True))):
            value, log_det = run(x, context, noise)
        return ops.sum(ops.sin(value)) + ops.sum(log_det)

    values = [x, *variables] if values is None else values
    _, found = engine.gradients(loss, [ops.convert_to_tensor(value) for value in values])
    return [ops.convert_to_numpy(gradient) for gradient in found]
