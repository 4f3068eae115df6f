"""A bijector that solves an ordinary differential equation."""

import contextlib
import math
from dataclasses import replace
from typing import Annotated, Any

import keras
import numpy as np
from keras import ops, tree

from flowkit import engines
from flowkit.bijectors import solvers
from flowkit.bijectors.replay import Backprop, Drift, changes
from flowkit.bijectors.solvers import ADAPTIVE, TABLEAUS, Solver
from flowkit.contract import Bijector, BijectorSpec, Conditioner, Context, ContractError, Shape, Tensor
from flowkit.contract.arguments import Count, Positive, instance, is_number, words
from flowkit.contract.call import Call, Weight, goes_with
from flowkit.contract.conditioner import as_type, context_of
from flowkit.contract.errors import label
from flowkit.contract.inside import layers_inside
from flowkit.contract.shapes import as_tuple, context_shape, sum_event
from flowkit.engines import engine

EXACT = 16
"""The largest number of entries whose divergence is exact unless `trace` says otherwise."""

Field = Annotated[
    Any, instance(keras.Layer, "a Keras layer called as field(x, t), such as conditioners.Field")
]


class Continuous(Bijector):
    """z = x(0), where dx/dt = v(x, t) and x(1) = x: a continuous flow, solved from data (t = 1) to latents (t = 0).

    log_det is the integral of the divergence, the trace of dv/dx; the inverse solves from 0 to 1.

    - `field`: v, a Keras layer or model called as `field(x, t)`, t of shape (batch,), or `field(x, t, context=context)`
      if its attribute `context` is "optional" or "required"; or `keras.Model([x, t], v)`. It returns the shape of x.
      Take a smooth activation.
    - `solver`: "euler", "midpoint" or "rk4" take `steps` of one length: 1, 2 or 4 evaluations each. "dopri5"
      (Dormand & Prince) chooses steps for each sample so that the error of each is below atol + rtol |x|, at most
      `max_steps`, rejected ones included. The first three compile and export to any format.
    - `trace`: "exact" takes one derivative for each entry. "rademacher" and "gaussian" estimate e^T (dv/dx) e for one
      random e in the whole solve (Hutchinson), so that `flow.exact` is "estimate". None is "exact" for up to 16 entries
      and "rademacher" for more, as `spec` says once the layer is built.
    - `backprop`: "recompute" keeps the state at each step, and computes the step once more in the backward pass;
      "reversible" keeps the end alone and solves back from it, as the adjoint method does, with a warning if it does
      not come back; "stored" keeps all activations, and alone has second derivatives. Lengths of adaptive steps are
      constants to the gradients.
    - `kinetic`, `jacobian`: weights of two penalties, added to the loss in training: the integrals of |v|^2 and of
      |dv/dx|^2, means over the batch (Finlay et al., How to Train Your Neural ODE, 2020).
    - `guidance`: w in v(x, t, context) + w (v(x, t, context) - v(x, t, None)), for a field with an optional context
      (Ho & Salimans, Classifier-Free Diffusion Guidance, 2022).

    A solve that has few steps is not the inverse of the solve back: `solver_error(x)` compares it with twice as many
    steps. Keras's numpy backend, which has no derivatives, samples and cannot score. Raises ContractError for a field
    that returns another shape, and outside of compiled programs for a solve that ends in NaN or before its end;
    compiled ones return NaN.

    Chen, Rubanova, Bettencourt & Duvenaud, Neural Ordinary Differential Equations (2018); Grathwohl, Chen, Bettencourt,
    Sutskever & Duvenaud, FFJORD (2019).

    >>> from flowkit.conditioners import Field
    >>> layer = Continuous(Field([16]), steps=4)
    >>> z, log_det = layer(ops.ones((4, 3)))
    >>> tuple(z.shape), tuple(log_det.shape)
    ((4, 3), (4,))
    """

    runs_hooks = False
    takes_steps = True

    def __init__(
        self,
        field: Field,
        solver: Annotated[str, words(*TABLEAUS)] = "rk4",
        *,
        steps: Count = 20,
        trace: Annotated[str, words("exact", "rademacher", "gaussian", None)] | None = None,
        rtol: Positive = 1e-5,
        atol: Positive = 1e-5,
        max_steps: Count = 100,
        backprop: Backprop = "recompute",
        kinetic: Weight = 0.0,
        jacobian: Weight = 0.0,
        guidance: Weight = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.field, self.solver, self.steps, self.trace = field, solver, steps, trace
        self.rtol, self.atol, self.max_steps, self.backprop = rtol, atol, max_steps, backprop
        self.kinetic, self.jacobian, self.guidance = kinetic, jacobian, guidance
        if guidance and context_of(field) != "optional":
            raise ValueError(
                f"Continuous's guidance: got {guidance}, expected 0 for a field with context={context_of(field)!r}. "
                "Use a field with context='optional', trained with FlowMatching(drop_context=0.1)."
            )
        if backprop == "reversible" and solver == "dopri5":
            raise ValueError(
                "Continuous's backprop: got 'reversible', expected 'recompute' or 'stored' for solver='dopri5', "
                "whose steps back would be others."
            )
        self.penalty = _Penalty(dtype=self.dtype_policy) if kinetic or jacobian else None
        self._declare(estimated=trace in ("rademacher", "gaussian"))

    def _declare(self, estimated):
        """Set the spec of a layer whose log-det is estimated from noise, or exact."""
        self.estimated = estimated
        # What tolerances leave; that of steps of one length is measured with twice as many.
        left = 16 * (self.rtol + self.atol) / 2.0**-23 if self.solver in ADAPTIVE else 0.0
        self.spec = BijectorSpec(
            event_rank=getattr(self.field, "event_rank", None),
            forward="iterative",
            inverse="iterative",
            context=context_of(self.field),
            round_trip=left,
            log_det_error=left,
            noise="both" if estimated else "none",
            likelihood="estimated" if estimated else "exact",
        )

    @property
    def num_classes(self) -> int | None:
        return getattr(self.field, "num_classes", None)

    def noise_size(self, x_shape: Shape) -> int:
        return math.prod(x_shape[1:])

    # Building

    def build(self, x_shape: Shape, context_shape: Shape | None = None) -> None:
        if self.trace is None:
            event = as_tuple(x_shape)[1:]
            self._declare(estimated=None in event or math.prod(event) > EXACT)
        if getattr(self.field, "features", 0) is None:
            self.field.features = x_shape[-1]
        if not isinstance(self.field, Conditioner):
            answer = self._answer_to_zeros(x_shape, context_shape)
        else:
            if not self.field.built:
                given = (x_shape,) if self.spec.context == "none" else (x_shape, context_shape)
                self.field.build(*given)
            answer = as_tuple(self.field.compute_output_shape(x_shape))
        if answer[1:] != as_tuple(x_shape)[1:]:
            wanted = f"a velocity of the shape of x, {as_tuple(x_shape)}"
            received = f"{answer} from {label(self.field)}"
            hint = "Let the last layer of the field have as many units as x has channels."
            raise ContractError("field", self, expected=wanted, received=received, hint=hint)
        for layer in layers_inside(self.field):
            if (reason := changes(layer)) is not None:
                wanted = "a field that returns the same for the same x and t"
                received = f"{label(layer)}, which {reason}"
                hint = "Leave it out: the steps of a solve must belong to one field."
                raise ContractError("field", self, expected=wanted, received=received, hint=hint)
        self._step, self._drift = _Step(self), Drift(self)

    def _answer_to_zeros(self, x_shape, context_shape):
        """Return the shape that a Keras layer returns, which builds it."""

        def zeros(shape):
            return ops.zeros((2, *as_tuple(shape)[1:]), dtype=self.compute_dtype)

        context = None
        if self.spec.context != "none" and context_shape is not None:
            of_dict = isinstance(context_shape, dict)
            context = {k: zeros(s) for k, s in context_shape.items()} if of_dict else zeros(context_shape)
        return as_tuple(self._velocity(zeros(x_shape), zeros((None,)), context, guidance=0.0).shape)

    # The field

    def velocity(self, x: Tensor, t: Tensor, context: Context = None) -> Tensor:
        """Return dx/dt at x and times t, (batch,) or one number for all. Raises ValueError for t outside [0, 1]."""
        if is_number(t) or isinstance(t, np.ndarray):
            if np.min(t) < 0 or np.max(t) > 1:
                raise ValueError(f"velocity's t: got {t}, expected times from 0 (latents) to 1 (data).")
            t = ops.broadcast_to(ops.convert_to_tensor(t, x.dtype), (ops.shape(x)[0],))
        return self._velocity(x, t, context, guidance=0.0)

    def _velocity(self, x, t, context, guidance):
        # The entry of Keras costs as much as a small network.
        entry = self.field.call if self._inside() and self.field.built else self.field
        if len(getattr(self.field, "inputs", None) or ()) == 2:  # a functional model takes them as a list
            return as_type(entry([x, t]), self.compute_dtype)
        return self._guided(
            lambda **given: as_type(entry(x, t, **given), self.compute_dtype), context, guidance
        )

    def _inside(self):
        """Return True if methods of the field may be called without the entry of Keras."""
        return isinstance(self.field, Conditioner) and self.field.compute_dtype == self.field.variable_dtype

    def _guided(self, run, context, guidance):
        """Return the result of `run` with the context, moved away by the guidance from that without it."""
        if self.spec.context == "none":
            return run()
        found = run(context=context)
        if not guidance or context is None:
            return found
        return tree.map_structure(lambda v, free: v + guidance * (v - free), found, run(context=None))

    def _rate(self, given, call, integrate=True):
        """Return the rate of a solve, (x, t) -> (v, integrands): the divergence, with those of the penalties if any.

        Without `integrate` the integrands are 0.
        """
        weight = self.guidance if call.guidance is None else call.guidance
        key = integrate and call.log_det, self.penalty is not None, weight
        if key not in self._step.rates:
            self._step.rates[key] = engine.compile_pure(lambda *args: self._rate_of(*args, *key))
        run = self._step.rates[key]
        return lambda x, t: run(x, t, given)

    def _rate_of(self, x, t, given, integrate, penalised, guidance):
        variables, weights = self.field.variables, given["weights"]
        scope = contextlib.nullcontext()
        if any(variable.value is not value for variable, value in zip(variables, weights, strict=True)):
            scope = keras.StatelessScope(list(zip(variables, weights, strict=True)))
        with scope:
            if not integrate:
                return self._velocity(x, t, given.get("context"), guidance), self._nothing(x)
            directions = self._directions(x, given.get("noise"))
            v, products = self._products(x, t, given.get("context"), guidance, directions)
        integrands = [_sums(directions * products)]
        if penalised:
            integrands += [sum_event(ops.square(v)), _sums(ops.square(products))]
        return v, ops.stack(integrands, axis=-1)

    def _products(self, x, t, context, guidance, directions):
        """Return (v, the products of dv/dx and the directions): those of the field's own method if it has one."""
        if self._inside() and goes_with(type(self.field), "jacobian_products", "call"):
            own = self.field.jacobian_products
            return self._guided(lambda **given: own(x, t, directions, **given), context, guidance)
        v, products = engine.jacobian_products(
            lambda x: self._velocity(x, t, context, guidance),
            x,
            [direction + ops.zeros_like(x) for direction in engine.unstack(directions)],
        )
        return v, ops.stack(products)

    def _directions(self, x, noise):
        """Return directions e, (k, batch or 1, *event): e^T (dv/dx) e add up to the divergence, or estimate it."""
        if noise is not None:
            noise = ops.reshape(ops.cast(noise, x.dtype), ops.shape(x))
            if self.trace != "gaussian":
                noise = ops.where(noise < 0, -ops.ones_like(x), ops.ones_like(x))
            return noise[None]
        return engine.constant(_units, as_tuple(x.shape)[1:], like=x)

    # Solving

    def run(
        self, x: Tensor, call: Call, noise: Tensor | None = None, derived: Any = None
    ) -> tuple[Tensor, Tensor]:
        y, integrals = self._solve(x, call, noise)
        if self.penalty is not None and not call.inverse:
            energy, squares = ops.unstack(-ops.mean(integrals[:, 1:], axis=0))
            self.penalty(self.kinetic * energy + self.jacobian * squares)
        return y, integrals[:, 0]

    def _solve(self, x, call, noise):
        """Return (x at the end, the integrals (batch, k), the divergence's first)."""
        solver, begin, end = self._solver(call), float(not call.inverse), float(call.inverse)
        given = {"weights": [engine.tensor(variable) for variable in self.field.variables]}
        given |= {name: v for name, v in (("context", call.context), ("noise", noise)) if v is not None}
        learns = engine.records_gradients() and not call.for_export
        if solver.adaptive:
            with engine.no_grad():
                fixed = tree.map_structure(ops.stop_gradient, given)
                rate = self._rate(fixed, call, integrate=not learns)
                found = solvers.adapt_steps(solver, rate, ops.stop_gradient(x), begin, end)
            self._refuse_late(found.progress, solver)
            grid = tree.map_structure(ops.stop_gradient, (found.starts, found.lengths))
        else:
            grid = solvers.even_grid(begin, end, solver.steps, x)
        given["starts"], given["lengths"] = grid
        if solver.adaptive and not learns:
            y, integrals = found.x, found.integrals
        elif learns and self.backprop != "stored":
            y, integrals = self._replayed(solver, x, given, call)
        else:
            y, integrals = self._run(solver, x, given, call)
        if solver.adaptive:
            # A constant: the gradient of a product with NaN would be NaN for all rows.
            y = ops.where(solvers.spread(found.progress >= 1, y), y, math.nan)
        self._refuse_nan(x, y)
        return y, integrals

    def _solver(self, call):
        """Return the solver, with the number of steps that the call wants."""
        solver = Solver(self.solver, self.steps, self.rtol, self.atol, self.max_steps)
        if call.steps is not None:
            solver = replace(solver, name="rk4" if solver.adaptive else solver.name, steps=call.steps)
        return solver.finer() if call.finer else solver

    def _one(self, x, number, given, solver, call):
        """Return (x after step `number` of the grid, the integrals over it)."""
        start, length = (ops.take(given[name], number, axis=0) for name in ("starts", "lengths"))
        rate = self._rate(given, call)

        def take():
            return solvers.step(solver.tableau, rate, x, start, length)[:2]

        if not solver.adaptive:
            return take()
        moves = ops.any(length != 0)
        known = engine.known(moves)
        if known is None:
            return ops.cond(moves, take, lambda: (x, self._nothing(x)))
        return take() if known else (x, self._nothing(x))  # JAX would compile `cond` anew at each step

    def _nothing(self, x):
        """Return integrals of 0."""
        zero = solvers.zeros_for(x)[:, None]
        return zero if self.penalty is None else ops.repeat(zero, 3, axis=1)

    def _run(self, solver, x, given, call):
        """Solve step by step."""

        def advance(state):
            x, total, number = state
            x, more = self._one(x, number, given, solver, call)
            return x, total + more, number + 1

        state = x, self._nothing(x), ops.convert_to_tensor(0, "int32")
        if solver.adaptive or not call.for_export:
            return engine.iterate(advance, solver.most, state)[:2]
        for _ in range(solver.steps):  # exporters on JAX do not support its loops
            state = advance(state)
        return state[:2]

    def _replayed(self, solver, x, given, call):
        """Solve with a backward pass that computes each step once more."""
        part = _Step(self, solver, self._step.number, call)
        numbers = engine.constant(np.arange, solver.most, like=engine.tensor(self._step.number))
        looped = engine.traces() and engine.scans([])
        return engine.backprop(
            lambda: [engines.Stretch([part], [[part.number]], [[numbers]], solver.most, looped)],
            x,
            Call(given),
            invert=self.backprop == "reversible",
            tolerance=self._drift.tolerance,
            on_drift=self._drift.tell,
        )

    # What goes wrong, and by how much

    def _refuse_late(self, progress, solver):
        """Raise ContractError if a row has not arrived, unless this is being compiled."""
        if engine.known(ops.any(progress < 1)):  # `ops.min` would break the graph of torch.compile
            wanted = f"all samples to arrive within max_steps={solver.max_steps}"
            least = ops.convert_to_numpy(ops.min(progress))
            hint = (
                "The field may be stiff or not finite there. Raise max_steps, rtol or atol, lower the learning rate, "
                "or train with kinetic=0.01."
            )
            received = f"one that came {least:.0%} of the way"
            raise ContractError("solver", self, expected=wanted, received=received, hint=hint)

    def _refuse_nan(self, x, y):
        """Raise ContractError if a finite row has become NaN, unless this is being compiled."""
        lost = ops.logical_and(ops.isnan(sum_event(y)), ops.isfinite(sum_event(x)))
        count = engine.known(ops.sum(ops.cast(lost, "int32")))
        if count:
            wanted = "a solve that ends in numbers"
            received = f"NaN for {count} samples"
            hint = (
                "The field overflows: lower the learning rate, clip gradients, or take a bounded activation."
            )
            raise ContractError("solver", self, expected=wanted, received=received, hint=hint)

    def evaluations(self, x: Tensor, context: Context = None, inverse: bool = False) -> int:
        """Return how often a direction calls the field for x, all samples at once. Adaptive steps run to be counted.

        >>> from flowkit.conditioners import Field
        >>> Continuous(Field([8]), "rk4", steps=10).evaluations(ops.ones((4, 3)))
        40
        """
        if not self.built:
            self.build_for(as_tuple(x.shape), context_shape(context))
        self.check_input(x, context, inverse)
        call = Call(context, inverse, log_det=False)
        solver = self._solver(call)
        stages = len(solver.tableau.nodes)
        if not solver.adaptive:
            return stages * solver.steps
        given = {"weights": [engine.tensor(variable) for variable in self.field.variables]}
        given |= {} if context is None else {"context": context}
        begin, end = float(not inverse), float(inverse)
        with engine.no_grad():
            rate = self._rate(given, call)
            found = solvers.adapt_steps(solver, rate, x, begin, end)
        return 1 + stages * int(ops.convert_to_numpy(found.attempts))

    def solver_error(
        self, x: Tensor, context: Context = None, noise: Tensor | None = None, inverse: bool = False
    ) -> tuple[Any, Any]:
        """Return how far (output, log_det) are from those with twice as many steps, (batch,) each.

        For a method of order p that is 1 - 2^-p of the error, so about all of it.

        >>> from flowkit.conditioners import Field
        >>> error, log_det_error = Continuous(Field([8]), steps=2).solver_error(ops.ones((4, 3)))
        >>> tuple(error.shape), tuple(log_det_error.shape)
        ((4,), (4,))
        """
        given = {} if noise is None else {"noise": noise}
        x = ops.convert_to_tensor(x, dtype=self.compute_dtype)
        y, log_det = self(x, context=context, inverse=inverse, **given)
        better, log_det_better = self.run(x, Call(context, inverse, finer=True), noise)
        axes = tuple(range(1, len(y.shape)))
        return ops.max(ops.abs(y - better), axis=axes), ops.abs(log_det - log_det_better)


class _Penalty(keras.Layer):
    """Add a number to the loss in training. Keras passes `training` on to its own calls alone, which a solve skips."""

    def call(self, penalty, training=False):
        if training:
            self.add_loss(penalty)
        return penalty


class _Step:
    """A step of a solve as a part of `engine.backprop`, which gives the variable `number` the value of each step."""

    def __init__(self, layer, solver=None, number=None, solve=None):
        self.layer, self.solver, self.solve, self.rates = layer, solver, solve, {}
        # Holds the values of a loop; no weight of the layer, which does not track it.
        self.number = (
            keras.Variable(0, dtype="int32", trainable=False, name="step") if number is None else number
        )

    def run(self, x, call):
        """Take the step; the context of `call` holds the tensors of the solve."""
        return self.layer._one(x, engine.tensor(self.number), call.context, self.solver, self.solve)

    def rebuild(self, y, call, nudge):
        given = call.context
        back = {**given, "starts": given["starts"] + given["lengths"], "lengths": -given["lengths"]}
        x = ops.stop_gradient(self.run(y, call._replace(context=back))[0])
        return x, *self.run(x + nudge, call)

    def compute_inverse_shape(self, latent_shape):
        return latent_shape


def _units(event):
    return np.eye(math.prod(event)).reshape(-1, 1, *event)


def _sums(x):
    """Return the sums over all axes but the second, the batch."""
    return ops.sum(x, axis=(0, *range(2, len(x.shape))))
