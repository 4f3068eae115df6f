"""The optimizer that Glow was trained with."""

import math
from typing import Annotated, Any, ClassVar

import keras
from keras import ops

from flowkit.contract import Tensor
from flowkit.contract.arguments import Between0And1, Fraction, Positive, checked, positive
from flowkit.contract.configured import one_line


def _rate(given, name):
    """Return a schedule or function as it is, and a number above 0 as a float."""
    return given if callable(given) else positive(given, name)


Rate = Annotated[float | keras.optimizers.schedules.LearningRateSchedule, _rate]


@keras.saving.register_keras_serializable(package="flowkit")
class GlowAdamax(keras.optimizers.Adamax):
    """w <- w - a_t m / (u + epsilon), with a_t = rate sqrt(1 - b2^t) / (1 - b1^t), t = 1, 2, ...

    m <- b1 m + (1 - b1) g and u <- max(b2 u, |g|), as in Adamax (Kingma & Ba, 2015, section 7.1). The
    square root is the published code's own: it makes the first steps smaller, until about 1 / (1 - b2)
    of them are done. It goes with `beta_2 = 1 - 1 / (steps of an epoch * epochs)`, the decay that Glow's
    averaged weights have too (Kingma & Dhariwal, 2018, https://arxiv.org/abs/1807.03039).

    Takes the arguments of `keras.optimizers.Adamax`, in any flow's `compile` or around any Keras model.

    Raises ValueError if `beta_2` is not between 0 and 1.

    >>> weight = keras.Variable([1.0])
    >>> optimizer = GlowAdamax(0.1, beta_2=0.75)
    >>> optimizer.apply([ops.convert_to_tensor([5.0])], [weight])
    >>> round(float(ops.convert_to_numpy(weight)[0]), 4)  # 1 - 0.1 sqrt(1 - 0.75): the first step is half of Adamax's
    0.95
    >>> optimizer
    GlowAdamax(0.1, beta_2=0.75)
    """

    _kept_as: ClassVar = {"learning_rate": "_given_rate"}
    __repr__ = one_line

    @checked
    def __init__(
        self,
        learning_rate: Rate = 1e-3,
        beta_1: Fraction = 0.9,
        beta_2: Between0And1 = 0.999,
        epsilon: Positive = 1e-8,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("name", "glow_adamax")
        super().__init__(learning_rate, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon, **kwargs)
        # The one that is shown: the present one cannot be read in a step that JAX traces.
        self._given_rate = learning_rate if callable(learning_rate) else float(f"{learning_rate:.6g}")

    def update_step(self, gradient: Tensor, variable: keras.Variable, learning_rate: Tensor) -> None:
        # 1 - b2^t as -expm1(t ln b2): float32 would lose four digits of 1 - 0.9987.
        t = ops.cast(self.iterations + 1, "float32")
        started = ops.sqrt(-ops.expm1(t * math.log(self.beta_2)))
        super().update_step(gradient, variable, ops.cast(learning_rate, "float32") * started)
