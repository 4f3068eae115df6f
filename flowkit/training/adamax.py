"""The optimizer that Glow was trained with."""

import math
from typing import Any, ClassVar

import keras
from keras import ops

from flowkit import backends
from flowkit.contract.arguments import is_number, positive
from flowkit.contract.one_line import one_line

# On torch Keras makes an `Adamax` of a class of its own, which moves all weights in a few calls.
_EnginesAdamax = type(keras.optimizers.Adamax.__new__(keras.optimizers.Adamax))


@keras.saving.register_keras_serializable(package="flowkit")
class GlowAdamax(_EnginesAdamax):
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

    _kept_as: ClassVar = {"learning_rate": "_shown_rate"}
    __repr__ = one_line
    moves_entries = True  # each for itself, so on JAX the weights of alike layers may be one

    def __init__(
        self,
        learning_rate: Any = 1e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        **kwargs: Any,
    ) -> None:
        if not (is_number(beta_1) and 0 <= beta_1 < 1):
            raise ValueError(f"beta_1: expected a number from 0 up to 1, received {beta_1!r}.")
        positive(epsilon, "epsilon")
        if not (is_number(beta_2) and 0 < beta_2 < 1):
            raise ValueError(f"beta_2: expected a number between 0 and 1, received {beta_2!r}.")
        kwargs.setdefault("name", "glow_adamax")
        super().__init__(learning_rate, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon, **kwargs)

    @property
    def _shown_rate(self):
        """The schedule or function, or the number that float32 stands for; dots where it cannot be read."""
        rate = self._learning_rate
        if callable(rate):
            return rate
        try:
            return float(f"{float(rate):.6g}")
        except Exception:  # in a step that JAX is tracing, and in `fit`, where the weights are elsewhere
            return ...

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        # 1 - b2^t as -expm1(t ln b2): float32 would lose four digits of 1 - 0.9987.
        t = ops.cast(self.iterations + 1, "float32")
        started = ops.sqrt(-ops.expm1(t * math.log(self.beta_2)))
        rate = ops.cast(learning_rate, "float32") * started
        backends.update_alike(self, super()._backend_update_step, grads, trainable_variables, rate)
