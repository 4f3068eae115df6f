"""A transform of each entry by itself."""

from typing import Annotated, Any

from keras import ops

from flowkit.bijectors.conditional import TransformBijector
from flowkit.contract import Context, Shape, Tensor, sum_event
from flowkit.contract.adaptation import adapted_flag
from flowkit.contract.arguments import words
from flowkit.contract.call import Call
from flowkit.contract.conditioner import NetworkOfContext, ask, build_on_context, split_parameters
from flowkit.engines import engine
from flowkit.transforms import Transform


class Pointwise(TransformBijector):
    """z_i = f(x_i; h), log-det = sum_i log f'(x_i; h), f the `transform`; h is the same for all places of a channel.

    Without a conditioner, h are weights, zero at the start. With one, h = conditioner(context), one vector for each
    sample: a density of y given x even for a single number y, for which a coupling has nothing to keep.

    `init="data"` starts where the transform makes each channel near to standard normal, by the data that `adapt` is
    given, of transforms that have a `fitted`. With a conditioner, h = weights + conditioner(context) then.

    Raises ValueError for another `init`, or a transform without `fitted`; TypeError for no transform; ContractError if
    the conditioner expects a context beside its input, or does not return one vector for each sample. Meng, Song, Song
    & Ermon, Gaussianization Flows (2020).

    >>> from flowkit.transforms import RationalQuadratic
    >>> z, log_det = Pointwise(RationalQuadratic())(ops.ones((4, 1)))
    >>> tuple(z.shape), tuple(log_det.shape)
    ((4, 1), (4,))
    """

    def __init__(
        self,
        transform: str | Transform,
        conditioner: NetworkOfContext = None,
        *,
        init: Annotated[str, words("zeros", "data")] = "zeros",
        **kwargs: Any,
    ) -> None:
        super().__init__(conditioner, transform, **kwargs)
        self.init = init
        if init == "data" and type(self.transform).fitted is Transform.fitted:
            raise ValueError(
                f"Pointwise's transform: got {self.transform!r}, expected one with `fitted` for init='data', such as "
                "MixtureOfLogistics()."
            )
        if self.init == "data":
            self.rows_to_adapt = 10_000
        self.spec = self._transform_spec(context="none" if conditioner is None else "required")

    def build(self, x_shape: Shape, context_shape: Shape | None = None) -> None:
        channels, parameters = x_shape[-1], self.transform.parameters
        self.transform.check_columns(self, channels)
        if self.conditioner is None or self.init == "data":
            self.raw = self.add_weight(shape=(parameters, channels), initializer="zeros", name="raw")
        if self.init == "data":
            self.flag = adapted_flag(self)
        if self.conditioner is None:
            return
        build_on_context(self, self.conditioner, channels * parameters, context_shape)

    def _derive(self, x_shape: Shape, inverse: bool) -> Any:
        return None  # its conditioner reads the context, whose shape is not known here

    def run(
        self, x: Tensor, call: Call, noise: Tensor | None = None, derived: Any = None
    ) -> tuple[Tensor, Tensor]:
        if self.conditioner is None:
            raw = ops.expand_dims(engine.tensor(self.raw), 0)
        else:
            answer = ask(self.conditioner, call.context, None, self.compute_dtype)
            raw = split_parameters(answer, self.transform.parameters, self.layout)
            if self.init == "data":
                raw = raw + self.raw.value
        # One axis of size 1 for each of the places that share it.
        raw = ops.reshape(raw, (-1, *(1,) * (len(x.shape) - 2), *raw.shape[1:]))
        y, log_slope = self.transform.run(x, self.transform.prepare(raw), inverse=call.inverse)
        if self.spec.log_det == "zero":
            return y, 0.0
        return y, sum_event(ops.broadcast_to(log_slope, ops.shape(y)))

    def run_adapt(self, x: Tensor, context: Context, again: bool = True, noise: Tensor | None = None) -> None:
        if self.init == "data" and (again or not self.adapted):
            rows = ops.convert_to_numpy(ops.reshape(x, (-1, x.shape[-1])))
            self.raw.assign(self.transform.fitted(rows.astype("float64")))
            self.flag.assign(True)
        super().run_adapt(x, context, again)
