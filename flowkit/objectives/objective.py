"""The base class of every objective."""

from typing import Any

from flowkit.contract.configured import Configured


class Objective(Configured):
    """What `fit` minimises the mean of: `objective(flow, x, context)` is one loss for each sample, (batch,).

    Given to `flow.compile(optimizer, loss=objective)`. It is called in training alone: `evaluate` is -log_prob of data,
    whatever a flow was trained on.

    Authors write `__call__`, and `get_config` if there are arguments; and register the class with Keras, so that a
    saved flow finds it: `@keras.saving.register_keras_serializable("my_package")`.

    - `needs_data`: whether training is on data. If not, `fit(steps_per_epoch=...)` takes none, and `x` is a tensor of
      shape (batch, 0), which says how many samples to draw. `flow.draw` draws them with their gradients.
    - `x`: data of shape (batch, *event), dequantised. Noise is to come from `flow.sampler`, which is saved.
    - `context`: as it was passed to `fit`, or None. The bijector and the base expect `flow.embed(context)`.

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
        """Raise if `flow` cannot be trained on this; `compile` and `fit` call it."""

    def __call__(self, flow: Any, x: Any, context: Any) -> Any:
        """Return one loss for each sample, (batch,)."""
        raise NotImplementedError(f"{type(self).__name__} has no __call__(self, flow, x, context).")


def expect_shape(what: str, value: Any, expected: Any) -> None:
    """Raise ValueError if `value` has another shape: broadcast, it would silently be another loss."""
    shape, expected = tuple(value.shape), tuple(expected)
    fits = len(shape) == len(expected) and all(
        None in pair or pair[0] == pair[1] for pair in zip(shape, expected, strict=True)
    )
    if not fits:
        raise ValueError(f"{what}: expected shape {expected}, received {shape}.")
