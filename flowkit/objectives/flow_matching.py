"""Flow matching: the velocity field of a continuous flow, by regression."""

from typing import Any, Protocol, runtime_checkable

import keras
from keras import ops

from flowkit.contract import sum_event
from flowkit.objectives.objective import Objective, expect_shape


@runtime_checkable
class HasVelocity(Protocol):
    """A bijector whose inverse solves dx/dt = v(x, t) from latents at t = 0 to data at t = 1.

    It has a method `velocity(x, t, context=None)`, for x of shape (batch, *event) and times t of shape (batch,), that
    answers with v, of the shape of x. It is called on a bijector that is built.

    >>> class Still:
    ...     def velocity(self, x, t, context=None):
    ...         return 0 * x
    >>> isinstance(Still(), HasVelocity)
    True
    """

    def velocity(self, x: Any, t: Any, context: Any = None) -> Any:
        """Return dx/dt at x and the times t, of the shape of x."""


@keras.saving.register_keras_serializable("flowkit")
class FlowMatching(Objective):
    """|v(x_t, t) - (x - z)|^2, x_t = (1 - t) z + t x: for data x, draws z of the base and t uniform in (0, 1).

    The field v that is best carries the base onto the data, along straight lines from latents (t = 0) to data (t = 1).
    No equation is solved in training, so `nll` and `bits_per_dim` are reported of validation data and by `evaluate`
    alone. The base is taken as it is: its weights do not learn.

    Raises TypeError, when a flow is compiled with it, for a bijector without a velocity field: see
    `HasVelocity`.

    Lipman, Chen, Ben-Hamu, Nickel & Le, Flow Matching for Generative Modeling (2023).

    >>> from flowkit import Flow
    >>> from flowkit.bijectors import Shift
    >>> Flow(Shift()).compile("adam", loss=FlowMatching())
    Traceback (most recent call last):
    TypeError: FlowMatching expects a bijector with velocity(x, t, context=None), received Shift ...
    """

    def check(self, flow: Any) -> None:
        """Raise TypeError for a bijector without a velocity field."""
        if not isinstance(flow.bijector, HasVelocity):
            raise TypeError(
                f"FlowMatching expects a bijector with velocity(x, t, context=None), received "
                f"{type(flow.bijector).__name__} without one. Train it by MaximumLikelihood()."
            )

    def __call__(self, flow: Any, x: Any, context: Any) -> Any:
        context = flow.embed(context)
        z = ops.stop_gradient(flow.base.sample(ops.shape(x), seed=flow.sampler, context=context))
        t = keras.random.uniform((ops.shape(x)[0],), dtype=x.dtype, seed=flow.sampler)
        share = ops.reshape(t, (-1, *(1,) * (len(x.shape) - 1)))
        v = flow.bijector.velocity((1 - share) * z + share * x, t, context)
        expect_shape("velocity", v, x.shape)
        return sum_event(ops.square(v - (x - z)))
