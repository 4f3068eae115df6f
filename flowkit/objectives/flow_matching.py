"""Flow matching: the velocity field of a continuous flow, by regression."""

import math
from typing import Annotated, Any, Protocol, runtime_checkable

import keras
from keras import ops

from flowkit.contract import AnySeed, Context, Tensor, sum_event
from flowkit.contract.arguments import Fraction, words
from flowkit.contract.call import Call
from flowkit.engines import engine
from flowkit.numerics import cos, sin
from flowkit.objectives.objective import Objective, expect_shape

SHARPNESS, ROUNDS = 20.0, 20
"""Of `optimal_pairs`: the inverse of the temperature, in units of the mean cost, and the rounds of normalisation."""

LAST = 1 - 1e-4
"""The last time of the variance-preserving path, whose velocity is infinite at 1."""


@runtime_checkable
class HasVelocity(Protocol):
    """A bijector whose inverse solves dx/dt = v(x, t) from latents at t = 0 to data at t = 1.

    It has a method `velocity(x, t, context=None)`, for x of shape (batch, *event) and times t of shape (batch,), that
    returns v, of the shape of x. It is called on a bijector that is built, as `flowkit.bijectors.Continuous` is.

    >>> class Still:
    ...     def velocity(self, x, t, context=None):
    ...         return 0 * x
    >>> isinstance(Still(), HasVelocity)
    True
    """

    def velocity(self, x: Tensor, t: Tensor, context: Context = None) -> Tensor:
        """Return dx/dt at x and the times t, of the shape of x."""


def split_velocity(bijector: Any) -> tuple[list[Any], Any]:
    """Return (the layers before the continuous one, the continuous one), which is None if there is none at the end."""
    if isinstance(bijector, HasVelocity):
        return [], bijector
    parts = list(getattr(bijector, "parts", ()))
    if not parts or any(part.spec.noise != "none" for part in parts[:-1]):
        return [], None
    before, last = split_velocity(parts[-1])
    return [*parts[:-1], *before], last


def linear(t: Tensor) -> tuple[Any, Any, Any, Any]:
    """Return (a, b, da/dt, db/dt) of x_t = a x + b z with a = t, b = 1 - t: straight lines."""
    one = ops.ones_like(t)
    return t, 1 - t, one, -one


def cosine(t: Tensor) -> tuple[Any, Any, Any, Any]:
    """Return (a, b, da/dt, db/dt) with a = sin(pi t / 2), b = cos(pi t / 2): a^2 + b^2 = 1."""
    angle = math.pi / 2 * t
    a, b = sin(angle), cos(angle)
    return a, b, math.pi / 2 * b, -math.pi / 2 * a


def variance_preserving(t: Tensor) -> tuple[Any, Any, Any, Any]:
    """Return (a, b, da/dt, db/dt) with log a = -5 s^2 + s^2 / 40 - s / 20, s = 1 - t, b^2 = 1 - a^2, as in diffusion.

    Song et al., Score-Based Generative Modeling through Stochastic Differential Equations (2021): rates 0.1 to 20.
    """
    s = ops.where(t < LAST, 1 - t, ops.full_like(t, 1 - LAST))
    a = ops.exp(-s * (0.05 + 4.975 * s))
    b = ops.sqrt(-ops.expm1(-2 * s * (0.05 + 4.975 * s)))
    da = a * (0.05 + 9.95 * s)
    return a, b, da, -a * da / b


PATHS = {"linear": linear, "cosine": cosine, "variance_preserving": variance_preserving}


def optimal_pairs(x: Tensor, z: Tensor, seed: AnySeed) -> Any:
    """Return rows of z, one drawn for each row of x, so that |x - z|^2 is small and each row of z as likely as others.

    The plan is that of entropic optimal transport, by Sinkhorn's normalisation of rows and columns in turn. Cuturi,
    Sinkhorn Distances (2013); Tong et al., Improving and Generalizing Flow-Based Generative Models (2024).
    """
    rows, columns = (ops.reshape(part, (ops.shape(part)[0], -1)) for part in (x, z))
    squares = [ops.sum(ops.square(part), axis=1) for part in (rows, columns)]
    cost = squares[0][:, None] + squares[1] - 2 * ops.matmul(rows, ops.transpose(columns))
    plan = -SHARPNESS * cost / ops.mean(cost)
    for _ in range(ROUNDS):
        plan = plan - ops.logsumexp(plan, axis=0, keepdims=True)
        plan = plan - ops.logsumexp(plan, axis=1, keepdims=True)
    return ops.take(z, keras.random.categorical(plan, 1, seed=seed)[:, 0], axis=0)


class FlowMatching(Objective):
    """|v(x_t, t) - dx_t/dt|^2 on a path x_t = a(t) x + b(t) z from draws z of the base (t = 0) to data x (t = 1).

    The field v that is best carries the base onto the data. No equation is solved in training, so `nll` and
    `bits_per_dim` are reported of validation data and by `evaluate` alone. The base is taken as it is: its weights do
    not learn. The continuous layer may be the last of a `Chain`: the layers before it run, and do not learn either.

    - `path`: "linear", a = t and b = 1 - t; "cosine", sin and cos of pi t / 2; "variance_preserving", as in diffusion.
    - `times`: t is "uniform" in (0, 1), or "logit_normal", the sigmoid of a normal number, with more in the middle.
    - `pairs`: z is "independent" of x, or "optimal": drawn among those of the batch by optimal transport, which makes
      paths straighter, so that samples need fewer steps. Not for a flow with a context.
    - `teacher`: a trained continuous flow; z is then its latent of x. One round of rectification (reflow): the paths of
      a flow do not cross, so that straight lines between their ends are learned with little bending, and samples need
      fewer steps (Liu, Gong & Liu, Flow Straight and Fast, 2023). Each training step solves the teacher's equation.
    - `drop_context`: the part of each batch for which the field gets no context, for a field with an optional one.
      Sampling may then use `guidance`, see `flowkit.bijectors.Continuous`.

    For an average of the weights use an optimizer with `use_ema=True`.

    Raises TypeError, when a flow is compiled with it, for a bijector without a velocity field: see `HasVelocity`; and
    ValueError for "optimal" pairs with a context or a teacher, and for `drop_context` without an optional one.

    Lipman, Chen, Ben-Hamu, Nickel & Le, Flow Matching for Generative Modeling (2023).

    >>> from flowkit import Flow
    >>> from flowkit.bijectors import Shift
    >>> Flow(Shift()).compile("adam", loss=FlowMatching())
    Traceback (most recent call last):
    TypeError: FlowMatching: got Shift, expected a bijector with velocity(x, t, context=None). Train it ...
    """

    def __init__(
        self,
        path: Annotated[str, words(*PATHS)] = "linear",
        *,
        times: Annotated[str, words("uniform", "logit_normal")] = "uniform",
        pairs: Annotated[str, words("independent", "optimal")] = "independent",
        teacher: Any = None,
        drop_context: Fraction = 0.0,
    ) -> None:
        self.path, self.times, self.pairs = path, times, pairs
        self.teacher, self.drop_context = teacher, drop_context

    def check(self, flow: Any) -> None:
        """Raise TypeError for a bijector without a velocity field, ValueError for options that do not go with it."""
        layer = split_velocity(flow.bijector)[1]
        if layer is None:
            raise TypeError(
                f"FlowMatching: got {type(flow.bijector).__name__}, expected a bijector with velocity(x, t, "
                "context=None). Train it by MaximumLikelihood()."
            )
        if self.teacher is not None and self.pairs == "optimal":
            raise ValueError(
                "FlowMatching's pairs: got 'optimal', expected 'independent' with a teacher, which pairs x and z. "
                "Leave pairs out."
            )
        context = getattr(getattr(layer, "spec", None), "context", "none")
        if self.pairs == "optimal" and context != "none":
            raise ValueError(
                "FlowMatching's pairs: got 'optimal', expected 'independent' for a flow with a context: pairs across "
                "contexts would change the density given each. Leave pairs out."
            )
        if self.drop_context and context != "optional":
            raise ValueError(
                f"FlowMatching's drop_context: got {self.drop_context}, expected 0 for a field with context="
                f"{context!r}. Use a field with context='optional'."
            )

    def __call__(self, flow: Any, x: Tensor, context: Context) -> Tensor:
        z = None
        if self.teacher is not None:
            with engine.no_grad():
                seen = self.teacher.embed(context)
                self.teacher.bijector.check_input(x, seen)
                z = ops.stop_gradient(self.teacher._to_latents(x, seen))
        context = flow.embed(context)
        before, layer = split_velocity(flow.bijector)
        for part in before:
            x, _ = part.run(x, Call(context, log_det=False))
        x = ops.stop_gradient(x)
        if z is None:
            z = ops.stop_gradient(flow.base.sample(ops.shape(x), seed=flow.sampler, context=context))
        if self.pairs == "optimal":
            z = optimal_pairs(x, z, flow.sampler)
        normal = self.times == "logit_normal"
        draw = keras.random.normal if normal else keras.random.uniform
        t = draw(ops.shape(x)[:1], dtype=x.dtype, seed=flow.sampler)
        t = ops.sigmoid(t) if normal else t
        share = ops.reshape(t, (-1, *(1,) * (len(x.shape) - 1)))
        a, b, da, db = PATHS[self.path](share)
        v = self._velocity(layer, a * x + b * z, t, context)
        expect_shape("velocity", v, x.shape)
        return sum_event(ops.square(v - (da * x + db * z)))

    def _velocity(self, layer, x, t, context):
        """Return the velocity; the first rows of the batch get no context if it is dropped for a part of them."""
        if not self.drop_context or context is None:
            return layer.velocity(x, t, context)
        rows = ops.shape(x)[0]
        if isinstance(rows, int):
            free = math.ceil(self.drop_context * rows)
        else:  # a tensor, in a graph for batches of any size
            free = ops.cast(ops.ceil(self.drop_context * ops.cast(rows, "float32")), "int32")
        kept = keras.tree.map_structure(lambda part: part[free:], context)
        return ops.concatenate(
            [layer.velocity(x[:free], t[:free], None), layer.velocity(x[free:], t[free:], kept)]
        )
