"""The base class of every objective, and maximum likelihood."""

from typing import Any

from flowkit.contract import Context, Tensor
from flowkit.contract.configured import Configured
from flowkit.contract.shapes import fits


class Objective(Configured):
    """A training loss: `objective(flow, x, context)` returns one loss per sample, (batch,); `fit` minimises their mean.

    Pass it as `flow.compile(optimizer, loss=objective)`. Only training uses it: `evaluate` returns -log_prob of data
    for every objective.

    Authors write `__call__`, and `get_config` if there are arguments, and register the class with Keras, so that a
    saved flow finds it: `@keras.saving.register_keras_serializable("my_package")`.

    - `needs_data`: True if training needs data. If False, `fit(steps_per_epoch=...)` takes no data, and `x` has shape
      (batch, 1): one row for each sample to draw by `flow.draw`, with the completed part of `fit`, from 0 to 1.
    - `x`: data of shape (batch, *event), dequantised. Draw noise from `flow.sampler`, which is saved.
    - `context`: the context passed to `fit`, or None. The bijector and the base expect `flow.embed(context)`.

    >>> import keras
    >>> from flowkit.objectives import MaximumLikelihood
    >>> @keras.saving.register_keras_serializable("my_package")
    ... class NoisyLikelihood(Objective):  # for a smoother density
    ...     def __call__(self, flow, x, context):
    ...         noise = keras.random.normal(x.shape, seed=flow.sampler)
    ...         return MaximumLikelihood()(flow, x + 0.1 * noise, context)
    >>> NoisyLikelihood().needs_data
    True
    """

    needs_data = True

    def check(self, flow: Any) -> None:
        """Raise if `flow` cannot be trained with this objective. Called by `compile` and by `fit`."""

    def check_draws(self, flow: Any, context: Context) -> None:
        """Raise if the objective fails on draws of the flow. Called by `fit` without data, after `adapt`."""

    def __call__(self, flow: Any, x: Tensor, context: Context) -> Tensor:
        """Return one loss per sample, (batch,)."""
        raise NotImplementedError(f"{type(self).__name__} has no __call__(self, flow, x, context).")


def expect_shape(what: str, value: Any, expected: Any) -> None:
    """Raise ValueError if `value` has another shape, which could broadcast to a wrong loss."""
    shape, expected = tuple(value.shape), tuple(expected)
    if not fits(shape, expected):
        raise ValueError(f"{what}: got shape {shape}, expected {expected}.")


class MaximumLikelihood(Objective):
    """-log p(x) in nats, for data x: the objective of a flow that is compiled without `loss`.

    With `dequantize`, -log p(x + u) for noise u drawn anew: its mean bounds that of the stored values from above.

    >>> import keras
    >>> from flowkit import Flow
    >>> from flowkit.bijectors import Scale
    >>> flow = Flow(Scale(0.0))
    >>> flow.build((None, 2))
    >>> flow.compile("adam", loss=MaximumLikelihood())
    >>> round(float(flow.objective(flow, keras.ops.zeros((1, 2)), None)[0]), 4)  # ln(2 pi)
    1.8379
    """

    def __call__(self, flow: Any, x: Tensor, context: Context) -> Tensor:
        return -flow._log_density(x, flow.embed(context), flow._noise_for(x))
