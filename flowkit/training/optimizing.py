"""Optimizers beyond Keras's: learning rates that start small, Glow's Adamax, averaged weights."""

import contextlib
import math
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

import keras
from keras import ops

from flowkit.contract import Tensor
from flowkit.contract.arguments import Between0And1, Fraction, Positive, checked, positive, real, whole
from flowkit.contract.configured import one_line
from flowkit.flow.averages import averaging

Steps = Annotated[int, whole(0, None)]


@keras.saving.register_keras_serializable(package="flowkit")
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """rate(t) = peak * min(1, (t + 1) / warmup_steps), constant once the warm-up is over.

    Step t counts from 0. `warmup_steps=0` is constant from the start. Glow was trained with a warm-up of ten epochs
    (Kingma & Dhariwal, 2018, https://arxiv.org/abs/1807.03039).

    Raises ValueError if `peak` is not positive or `warmup_steps` is negative.

    >>> schedule = WarmUp(0.5, warmup_steps=4)
    >>> [float(schedule(step)) for step in (0, 1, 3, 100)]
    [0.125, 0.25, 0.5, 0.5]
    """

    __repr__ = one_line

    @checked
    def __init__(self, peak: Positive, *, warmup_steps: Steps = 0, name: str = "warm_up") -> None:
        super().__init__()
        self.peak, self.warmup_steps, self.name = peak, warmup_steps, name

    def __call__(self, step: Tensor) -> Tensor:
        step = ops.cast(step, "float32")
        return self.peak * ops.minimum(1.0, (step + 1.0) / float(max(self.warmup_steps, 1)))

    def get_config(self) -> dict[str, Any]:
        return {"peak": self.peak, "warmup_steps": self.warmup_steps, "name": self.name}


@keras.saving.register_keras_serializable(package="flowkit")
class WarmUpCosine(WarmUp):
    """rate(t) = WarmUp(t) * (floor + (1 - floor) * (1 + cos(pi * progress(t))) / 2).

    progress(t) = clip((t - warmup_steps) / (total_steps - warmup_steps), 0, 1): a linear warm-up,
    then half a cosine from `peak` down to `floor * peak` at `total_steps` (SGDR without restarts,
    Loshchilov & Hutter, 2017, https://arxiv.org/abs/1608.03983).

    Raises ValueError if `total_steps` does not exceed `warmup_steps`, or `floor` is not in
    0..1.

    >>> schedule = WarmUpCosine(1.0, warmup_steps=10, total_steps=110, floor=0.2)
    >>> [round(float(schedule(step)), 3) for step in (0, 9, 10, 60, 110, 500)]
    [0.1, 1.0, 1.0, 0.6, 0.2, 0.2]
    """

    @checked
    def __init__(
        self,
        peak: Positive,
        *,
        total_steps: Steps,
        warmup_steps: Steps = 0,
        floor: Annotated[float, real(0, 1, "a share of the peak, 0..1")] = 0.0,
        name: str = "warm_up_cosine",
    ) -> None:
        super().__init__(peak, warmup_steps=warmup_steps, name=name)
        if not total_steps > warmup_steps:
            raise ValueError(
                f"total_steps: got {total_steps}, expected more than the {warmup_steps} of the warm-up."
            )
        self.total_steps, self.floor = total_steps, floor

    def __call__(self, step: Tensor) -> Tensor:
        rate = super().__call__(step)
        step = ops.cast(step, "float32")
        progress = (step - float(self.warmup_steps)) / float(self.total_steps - self.warmup_steps)
        cosine = (1.0 + ops.cos(math.pi * ops.clip(progress, 0.0, 1.0))) / 2
        return rate * (self.floor + (1 - self.floor) * cosine)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "total_steps": self.total_steps, "floor": self.floor}


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


@contextlib.contextmanager
def averaged_weights(model: keras.Model) -> Iterator[Any]:
    """Give `model` the moving average of its weights in a block, and put its weights back bit for bit.

    A flow also gets the averages of statistics, such as those of `BatchNorm`, as it does at the end of `fit`.

    average <- m average + (1 - m) weights after each step, with m the optimizer's `ema_momentum` (Polyak & Juditsky,
    1992). If the optimizer keeps no average, or has not taken a step yet, nothing changes. Keras's `SwapEMAWeights`
    swaps by adding and subtracting on TensorFlow, which rounds.
    """
    optimizer: Any = getattr(model, "optimizer", None)
    if averaging(optimizer) is None or not optimizer.built or int(optimizer.iterations) == 0:
        yield model
        return
    weights = list(model.weights)
    before = [ops.convert_to_numpy(weight).copy() for weight in weights]
    try:
        optimizer.finalize_variable_values(model.trainable_variables)
        # On JAX they now share their values with the averages, which must not be overwritten.
        for weight in weights:
            weight.assign(ops.copy(weight))
        yield model
    finally:
        for weight, value in zip(weights, before, strict=True):
            weight.assign(value)
