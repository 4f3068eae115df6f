"""Learning rates that start small: a flow's first steps decide whether it survives."""

import math
from typing import Annotated, Any

import keras
from keras import ops

from flowkit.contract import Tensor
from flowkit.contract.arguments import Positive, checked, real, whole
from flowkit.contract.configured import one_line

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

    >>> schedule = WarmUpCosine(1.0, warmup_steps=10, total_steps=110)
    >>> [round(float(schedule(step)), 3) for step in (0, 9, 10, 60, 110, 500)]
    [0.1, 1.0, 1.0, 0.5, 0.0, 0.0]
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
                f"total_steps: expected more than the {warmup_steps} of the warm-up, received {total_steps}."
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
