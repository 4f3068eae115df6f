"""A transform of each entry by itself."""

from typing import Any

import keras
from keras import ops

from flowkit.bijectors.steered import transform_of
from flowkit.contract import Bijector, BijectorSpec, ContractError, sum_event
from flowkit.contract.conditioner import adapt_conditioner, ask, build_conditioner, deal
from flowkit.contract.shapes import plain
from flowkit.transforms import Transform


@keras.saving.register_keras_serializable("flowkit")
class Pointwise(Bijector):
    """z_i = f(x_i; h), log-det = sum_i log f'(x_i; h), f the `transform`; h is the same for all places of a channel.

    Without a conditioner, h are weights, zero at the start. With one, h = conditioner(context), one vector for each
    sample: a density of y given x even for a single number y, for which a coupling has nothing to keep.

    Raises TypeError for no transform, and ContractError if the conditioner's answer has the wrong shape, or if there is
    no context to ask it with. Meng, Song, Song & Ermon, Gaussianization Flows (2020).

    >>> from flowkit.transforms import RationalQuadratic
    >>> z, log_det = Pointwise(RationalQuadratic())(ops.ones((4, 1)))
    >>> tuple(z.shape), tuple(log_det.shape)
    ((4, 1), (4,))
    """

    def __init__(self, transform: str | Transform, conditioner: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.transform = transform_of(transform)
        self.conditioner = conditioner
        self.spec = BijectorSpec(
            domain=self.transform.domain,
            codomain=self.transform.codomain,
            log_det=self.transform.log_det,
            inverse=self.transform.inverse_kind,
            context="none" if conditioner is None else "required",
        )

    @property
    def num_classes(self):
        return getattr(self.conditioner, "num_classes", None)

    def build(self, x_shape, context_shape=None):
        channels, parameters = x_shape[-1], self.transform.parameters
        if self.conditioner is None:
            self.raw = self.add_weight(shape=(parameters, channels), initializer="zeros", name="raw")
            return
        if not isinstance(context_shape, (tuple, list)):
            raise ContractError(
                "context", self, expected="a context to ask its conditioner with", received="none"
            )
        build_conditioner(self, self.conditioner, channels * parameters, plain(context_shape))

    def run(self, x, context, inverse):
        if self.conditioner is None:
            raw = ops.expand_dims(ops.convert_to_tensor(self.raw), 0)
        else:
            h = ask(self.conditioner, context, None, self.compute_dtype)
            raw = deal(h, self.transform.parameters, "contiguous")
        # One axis of size 1 for each of the places that share it.
        raw = ops.reshape(raw, (-1, *(1,) * (len(x.shape) - 2), *raw.shape[1:]))
        prepared = self.transform.prepare(raw)
        y, log_slope = (self.transform.inverse if inverse else self.transform.forward)(x, *prepared)
        if self.spec.log_det == "zero":
            return y, 0.0
        return y, sum_event(ops.broadcast_to(log_slope, ops.shape(y)))

    def run_adapt(self, x, context, again=True):
        if self.conditioner is not None and (again or not self.adapted):
            adapt_conditioner(self.conditioner, context, None)

    def get_config(self):
        restored = None if self.conditioner is None else keras.saving.serialize_keras_object(self.conditioner)
        return {
            **super().get_config(),
            "transform": keras.saving.serialize_keras_object(self.transform),
            "conditioner": restored,
        }

    @classmethod
    def from_config(cls, config):
        restore = keras.saving.deserialize_keras_object
        conditioner = config["conditioner"]
        return cls(
            **config
            | {
                "transform": restore(config["transform"]),
                "conditioner": None if conditioner is None else restore(conditioner),
            }
        )
