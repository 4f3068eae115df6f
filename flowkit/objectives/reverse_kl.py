"""Variational inference: the reverse Kullback-Leibler divergence to a density that can be evaluated."""

import types
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from flowkit.objectives.objective import Objective, expect_shape


@keras.saving.register_keras_serializable("flowkit")
class ReverseKL(Objective):
    """log q(x) - log p(x), for draws x of the flow q: its mean is KL(q || p), up to the constant that p lacks.

    It needs no data: `flow.fit(steps_per_epoch=1000, batch_size=256)`. The loss is in nats; the best value is
    -log of what p integrates to.

    - `log_density`: log p(x), up to a constant: from (batch, *event) to (batch,), in `keras.ops` or the engine's own
      functions. For a flow with a context it is called as `log_density(x, context)`, with a row of the context for
      each draw. A saved flow keeps it if it is registered with `keras.saving.register_keras_serializable`.
    - `stick_the_landing`: the gradient of log q(x) is taken through x alone, with the weights of q stopped. What is
      left out is 0 in the mean, and so is all noise of what remains if q is p (Roeder, Wu & Duvenaud, Sticking the
      Landing, 2017). It costs one pass from x to the latents.

    Of a flow that forgets something on the way to x, as one with `Augment` does, log q(x) is not known, and the mean of
    the loss is an upper bound of the divergence: that of x together with what is forgotten (Ranganath, Tran & Blei,
    Hierarchical Variational Models, 2016). It needs `stick_the_landing=False`.

    Raises ValueError, when a flow is compiled with it, for one with `dequantize`, for a base whose draws do not carry
    gradients to all its weights (a `Mixture`), for an inverse without gradients, and for a bound if it is to stick the
    landing.

    >>> from flowkit import Flow
    >>> from flowkit.bijectors import Shift
    >>> flow = Flow(Shift())
    >>> flow.build((None, 1))
    >>> flow.compile(keras.optimizers.Adam(0.1), loss=ReverseKL(lambda x: -0.5 * ops.sum((x - 3.0) ** 2, axis=-1)))
    >>> history = flow.fit(steps_per_epoch=200, batch_size=64, verbose=0)
    >>> bool(abs(flow.sample(1000, seed=0).mean() - 3) < 0.2)
    True
    """

    needs_data = False

    def __init__(self, log_density: Callable[..., Any], stick_the_landing: bool = True) -> None:
        if not callable(log_density):
            raise TypeError(
                f"ReverseKL expects a function log_density(x) -> (batch,), received {log_density!r}."
            )
        self.log_density, self.stick_the_landing = log_density, bool(stick_the_landing)

    def check(self, flow: Any) -> None:
        """Raise ValueError for a flow whose draws do not carry all gradients."""
        spec = flow.bijector.spec
        if flow.dequantize is not None or "whole" in spec.domain.kind:
            raise ValueError(
                "ReverseKL expects a flow of continuous data, received one with dequantize: whole values carry no "
                "gradients. Leave dequantize out."
            )
        if not getattr(flow.base, "reparameterized", True):
            raise ValueError(
                f"ReverseKL expects a base whose draws carry gradients to all its weights, received a "
                f"{type(flow.base).__name__}. Use Normal(learn=True), for example."
            )
        if spec.inverse == "none" or (spec.inverse == "iterative" and not spec.solver_gradients):
            received = "none" if spec.inverse == "none" else "one that is solved for, without gradients"
            raise ValueError(
                f"ReverseKL expects a bijector with an inverse that carries gradients, received {received}. Turn it "
                "around: Inverse(bijector) draws in the direction that the bijector computes forward."
            )
        if spec.likelihood == "bound" and self.stick_the_landing:
            raise ValueError(
                "ReverseKL(stick_the_landing=True) expects a flow whose log q(x) is exact, or right on average, "
                "received one that knows a bound of it alone. Use ReverseKL(log_density, stick_the_landing=False), "
                "which minimises an upper bound of the divergence."
            )

    def __call__(self, flow: Any, x: Any, context: Any) -> Any:
        seen = flow.embed(context)
        draws, log_q = flow._draw_and_score(ops.shape(x)[0], seen)
        log_p = self.log_density(draws) if context is None else self.log_density(draws, context)
        expect_shape("log_density", log_p, log_q.shape)
        if self.stick_the_landing:
            # The value of `score` adds up to 0; its gradient is what the weights change at x as it is.
            fixed = ops.stop_gradient(draws)
            score = flow._log_density(fixed, seen, flow._noise_for(fixed))
            log_q = log_q - (score - ops.stop_gradient(score))
        return log_q - log_p

    def get_config(self) -> dict[str, Any]:
        """Return the arguments. Raises TypeError for a function that no file can hold."""
        of_weights = isinstance(self.log_density, keras.Layer)
        if of_weights or getattr(self.log_density, "__name__", None) == (lambda: None).__name__:
            what = "a layer, whose weights it would lose" if of_weights else "a lambda"
            raise TypeError(f"a file expects log_density to be a registered function, received {what}")
        if isinstance(self.log_density, types.MethodType):
            raise TypeError("a file expects log_density to be a registered function, received a method")
        stored = keras.saving.serialize_keras_object(self.log_density)
        return {"log_density": stored, "stick_the_landing": self.stick_the_landing}
