"""Autoregressive layers: each entry is changed given those before it, and found again in their order."""

import math
from typing import Annotated, Any

import numpy as np
from keras import ops

from flowkit.bijectors.conditional import TransformBijector
from flowkit.bijectors.weights import new_weight
from flowkit.contract import ContractError, Shape, Tensor, sum_event
from flowkit.contract.arguments import Wholes, words
from flowkit.contract.call import Call
from flowkit.contract.conditioner import Network, build_conditioner, in_turn_of
from flowkit.contract.errors import shape_error
from flowkit.contract.shapes import as_tuple
from flowkit.engines import engine
from flowkit.transforms import Affine, Transform


def find_in_turn(z, transform, state, answer):
    """Return (x, log dx/dz) of `z` (batch, entries), whose conditioner answers in turn: it gave `state` and `answer`.

    `answer(k, x, state)` gives (parameters, batch) for entry k and the next state; `x` is (entries, batch), of which
    the first k are known and the others zeros. To the transform the batch is one of channels. The logarithms are summed
    up: (batch, 1). Of a `z` (batch, places, channels) the places are the entries, and an answer is
    (batch, parameters, channels).
    """
    size = z.shape[1]
    entries = engine.StepWindows(range(1, size + 1))
    z = ops.swapaxes(z, 0, 1)
    given = entries.cut(z)

    def one_more(loop):
        k, x, log_slopes, state = loop
        h, state = answer(k, x, state)
        found, log_slope = transform.inverse(entries.at(given, k), *transform.prepare(h[None]))
        return k + 1, entries.written(x, k, found), log_slopes + log_slope, state

    start = 0, ops.zeros_like(z), ops.zeros_like(z[:1]), state
    _, x, log_slopes, _ = engine.iterate(one_more, size, start)
    return ops.swapaxes(x, 0, 1), ops.swapaxes(log_slopes, 0, 1)


def find_in_passes(found, z):
    """Return (x, log dx/dz) of `z`, `found(x)` the same of conditioners that are given x: in as many passes as entries.

    After k passes the first k entries are right, and their gradients are. The others wait as zeros: what they would be
    otherwise may be without bound, and masked weights times infinity are NaN.
    """
    size, places = z.shape[1], _numbers(z)

    def one_more(state):
        x, known = state
        return ops.where(places <= known, found(x)[0], ops.zeros_like(x)), known + 1

    x, _ = engine.iterate(one_more, size - 1, (ops.zeros_like(z), ops.zeros_like(places[0])))
    return found(x)


def _numbers(z):
    """Return the number of each entry of `z`, from 0: of its axis 1, broadcast over the others."""
    numbers = engine.constant(np.arange, z.shape[1], like=z)
    return ops.reshape(numbers, (-1, *(1,) * (len(z.shape) - 2)))


def find_fixed_point(found, z):
    """Return the same in as few passes as needed until nothing changes. It has no gradients.

    A pass starts from all entries that the last one found, and few are needed if entries hear little of most others.
    As after k passes the first k are right whatever the others were, it ends, with what `find_in_passes` gives. A row
    whose entries to come grow so much that they spoil one that is due (infinity times a masked weight is NaN) goes back
    by a pass, and from then on they wait as zeros.
    """
    size, places, axes = z.shape[1], _numbers(z), tuple(range(1, len(z.shape)))
    zeros = ops.zeros_like(z)

    def one_more(state):
        x, _, _, known, waits, _ = state
        y, log_slope = found(x)
        log_slope = log_slope + zeros  # a transform may answer 0.0
        finite = ops.isfinite(y)
        due = places <= known
        spoiled = ops.any(ops.logical_and(due, ops.logical_not(finite)), axis=axes, keepdims=True)
        back = ops.logical_and(spoiled, ops.logical_not(waits))
        waits = ops.logical_or(waits, spoiled)
        free = ops.logical_and(finite, ops.logical_not(waits))
        kept = ops.logical_or(free, due)
        new = ops.where(back, ops.where(places < known, x, zeros), ops.where(kept, y, zeros))
        known = ops.where(back, known, known + 1)
        moved = ops.logical_or(ops.any(new != x, axis=axes, keepdims=True), waits)
        return new, y, log_slope, known, waits, ops.logical_and(moved, known < size)

    def alive(state):
        return ops.any(state[-1])

    column = ops.sum(zeros, axis=axes, keepdims=True)
    start = zeros, zeros, zeros, column, column > 0, column == 0
    _, y, log_slope, *_ = engine.iterate(one_more, size + 1, start, alive=alive)
    return y, log_slope


class Autoregressive(TransformBijector):
    """z_i = f(x_i; h_i), h_i = conditioner(x_1, ..., x_(i-1)), log-det = sum_i log f'(x_i; h_i), f the `transform`.

    The conditioner answers for entry i from those before it alone, as `flowkit.conditioners.MADE` does. Density takes
    one pass of it. The inverse finds one entry after the other. With a `MADE` it computes each unit once, when what it
    hears is known: the work of one pass, in as many small steps as there are entries. Other conditioners are called for
    all entries until nothing changes, at most as many times as there are entries, and as often as that if gradients are
    taken. For the fastest samples, take `Inverse` of it (an inverse autoregressive flow), whose densities are slower.

    - `order`: that in which entries come: None as they stand, "reversed", or a permutation, `order[k]` the index of
      the k-th. Of the conditioner's answer, numbers of one kind stand together: the first of all entries, then the
      next.
    - `jacobi`: ask any conditioner for all entries until nothing changes (Jacobi iterations), also one that could
      answer for one entry after the other. Few passes are needed if entries depend weakly on most others.

    Events are vectors. With a `flowkit.conditioners.CausalTransformer` they are sequences (places, channels) or images:
    places, in row-major order, take the role of entries, and all channels of a place are changed at once.

    Raises ValueError for an order that is no permutation, ContractError for one of another length,
    for a transform between two different sets, and if the conditioner's answer has the wrong shape. Papamakarios,
    Pavlakou & Murray, Masked Autoregressive Flow (2017); Kingma et al., Inverse Autoregressive Flow (2016); Zhai et
    al., Normalizing Flows are Capable Generative Models (2024); Song et al., Accelerating Feedforward Computation via
    Parallel Nonlinear Equation Solving (2021).

    >>> from flowkit.conditioners import MADE
    >>> z, log_det = Autoregressive(MADE([32]))(ops.ones((4, 6)))
    >>> tuple(z.shape), tuple(log_det.shape)
    ((4, 6), (4,))
    """

    def __init__(
        self,
        conditioner: Network,
        transform: str | Transform | None = None,
        *,
        order: Annotated[str, words("reversed")] | Wholes | None = None,
        jacobi: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(conditioner, Affine("tanh") if transform is None else transform, **kwargs)
        if isinstance(order, list) and sorted(order) != list(range(len(order))):
            raise ValueError(
                f"Autoregressive's order: got {order}, expected a permutation of the numbers from 0."
            )
        self.order, self.jacobi = order, jacobi
        # Its input is in order.
        self._moves = self.transform.in_order(self.order) if self.transform.by_column else self.transform
        solved = self.transform.inverse_kind == "iterative"
        self._refuse_two_sets()
        self.spec = self._transform_spec(
            event_rank=getattr(conditioner, "event_rank", 1),
            inverse="iterative" if solved else "sequential",
        )

    def build(self, x_shape: Shape, context_shape: Shape | None = None) -> None:
        if self._is_map(context_shape, x_shape):
            context_shape = _in_a_row(as_tuple(context_shape))
        elif _is_sequence(context_shape, x_shape):
            context_shape = _apart(context_shape)
        seen = _in_a_row(as_tuple(x_shape))
        size = seen[1]
        if isinstance(self.order, list) and len(self.order) != size:
            raise shape_error(self, f"{len(self.order)} entries, for its order", x_shape)
        self.transform.check_columns(self, seen[-1])
        # A layer of Keras's cannot say whether it is, and the checker can.
        if not getattr(self.conditioner, "autoregressive", True):
            wanted = "a network whose output for an entry depends on those before it alone"
            received = type(self.conditioner).__name__
            hint = "Take a MADE, or set autoregressive = True in a class that keeps to it."
            raise ContractError("conditioner", self, expected=wanted, received=received, hint=hint)
        if isinstance(self.order, list):
            self.indices = new_weight(self, "indices", np.array(self.order), trainable=False, dtype="int32")
            self.back = new_weight(self, "back", np.argsort(self.order), trainable=False, dtype="int32")
        features = seen[-1] * self.transform.parameters
        build_conditioner(self, self.conditioner, features, seen, context_shape)

    def _derive(self, x_shape, inverse):
        in_turn = self._in_turn() if inverse else None
        return super()._derive(x_shape, inverse) if in_turn is None else in_turn.derive()

    def _in_turn(self):
        """Return the conditioner's `in_turn`, or None; a transform that differs by column needs all entries at once."""
        return None if self.jacobi or self.transform.by_column else in_turn_of(self.conditioner)

    def _seen(self, x, context):
        context_shape = getattr(context, "shape", None)
        if self._is_map(context_shape, x.shape):
            context = self._in_order(ops.reshape(context, (-1, *_in_a_row(context_shape)[1:])))
        elif _is_sequence(context_shape, x.shape):
            context = ops.expand_dims(context, 2)
        x = x if len(x.shape) < 4 else ops.reshape(x, (-1, *_in_a_row(x.shape)[1:]))
        return self._in_order(x), context

    def _is_map(self, context_shape, x_shape):
        """Return True for a context with a vector for each place of an event, which come in its order."""
        return context_shape is not None and len(context_shape) == len(x_shape) > 2

    def _seen_shape(self, x_shape):
        return _in_a_row(as_tuple(x_shape))

    def _in_order(self, x, back=False):
        if self.order is None:
            return x
        if self.order == "reversed":
            return ops.flip(x, axis=1)
        return ops.take(x, self.back if back else self.indices, axis=1)

    def run(
        self, x: Tensor, call: Call, noise: Tensor | None = None, derived: Any = None
    ) -> tuple[Tensor, Tensor]:
        event = x.shape[1:]
        if derived is None and call.inverse:
            derived = self._derive(x.shape, inverse=True)
        x, context = self._seen(x, call.context)
        y, log_slope = (self._find if call.inverse else self._move)(
            x, call._replace(context=context), derived
        )
        y = self._in_order(y, back=True)
        y = y if len(event) < 3 else ops.reshape(y, (-1, *event))
        return y, 0.0 if self.spec.log_det == "zero" else sum_event(log_slope)

    def _move(self, x, call, derived):
        return self._moves.forward(x, *self._prepare(x, call, derived, self._moves))

    def _find(self, z, call, derived):
        """Return (x, log dx/dz) of `z`, both in order."""
        in_turn = self._in_turn()
        if in_turn is not None:

            def begin(context):
                return in_turn.begin(ops.shape(z)[0], context, self.compute_dtype, derived)

            begun, weight = begin(call.context), self._guidance(call)
            return find_in_turn(z, self._moves, *(_guided(begun, begin(None), weight) if weight else begun))

        def found(x):
            return self._moves.inverse(z, *self._prepare(x, call, derived, self._moves))

        return (find_in_passes if engine.records_gradients() else find_fixed_point)(found, z)


def _is_sequence(context_shape, x_shape):
    """Return True for vectors (batch, n, k) beside an image: in a row, its places would take them for their own."""
    if context_shape is None or isinstance(context_shape, dict):
        return False
    return len(context_shape) == 3 and len(x_shape) == 4


def _apart(sequence_shape):
    """Return the shape of a sequence with an axis that no context of places has."""
    batch, n, size = sequence_shape
    return (batch, n, 1, size)


def _in_a_row(shape):
    """Return the shape of events whose places stand in a row: (batch, places, channels); of vectors, their own."""
    return shape if len(shape) < 4 else (shape[0], math.prod(shape[1:-1]), shape[-1])


def _guided(begun, free, weight):
    """Return (state, answer) of answers with a context, `begun`, that move away from those without, `free`."""

    def answer(k, x, states):
        h, state = begun[1](k, x, states[0])
        h_free, state_free = free[1](k, x, states[1])
        return h + weight * (h - h_free), (state, state_free)

    return (begun[0], free[0]), answer
