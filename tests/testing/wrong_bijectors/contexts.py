"""Contexts lost on the way."""

from keras import ops

from flowkit.bijectors import Coupling
from flowkit.conditioners import MLP
from flowkit.contract import Bijector, BijectorSpec
from tests.testing.wrong_bijectors.registry import breaks


class Conditional(Bijector):
    """z = x + context W."""

    spec = BijectorSpec(log_det="zero", context="required")

    def build(self, x_shape, context_shape=None):
        self.kernel = self.add_weight(shape=(context_shape[-1], x_shape[-1]), name="W")

    def _shift(self, context):
        return ops.matmul(ops.cast(context, self.compute_dtype), self.kernel)

    def _forward(self, x, context):
        return x + self._shift(context), 0.0

    def _inverse(self, z, context):
        return z - self._shift(context), 0.0


@breaks("context", says="an answer of inverse that depends on the context")
class IgnoredInTheInverse(Conditional):
    def _inverse(self, z, context):
        return z, 0.0


@breaks("context", says="an answer of forward that depends on the context")
class IgnoredForward(Conditional):
    def _forward(self, x, context):
        return x, 0.0


@breaks("context", says="a ContractError if the required context is missing")
class NotAskedFor(Conditional):
    """A missing context is taken for zeros, though the spec requires one."""

    def _check_input(self, x, context, inverse):
        pass

    def _shift(self, context):
        return 0.0 if context is None else super()._shift(context)


@breaks("batch independence")
class FirstContextForAll(Conditional):
    def _shift(self, context):
        return super()._shift(context[:1])


@breaks("context", says="no difference from a context")
class ReadsWhatItSaysItIgnores(Bijector):
    spec = BijectorSpec(log_det="zero", context="none")

    def run(self, x, call, noise=None, derived=None):
        shift = 0.0 if call.context is None else ops.mean(ops.cast(call.context, self.compute_dtype))
        return (x - shift, 0.0) if call.inverse else (x + shift, 0.0)


@breaks("context", (4,), says="an answer of forward that depends on the context")
class DroppedInACoupling(Coupling):
    def __init__(self, conditioner=None, **kwargs):
        super().__init__(conditioner or MLP([4], context="optional"), **kwargs)

    def _prepare(self, kept, call, *more):
        return super()._prepare(kept, call._replace(context=None), *more)


@breaks("output gradient")
class StopsTheContext(Conditional):
    """An embedding in front of it would never learn."""

    def _shift(self, context):
        return super()._shift(ops.stop_gradient(context))


@breaks("log-det gradient", context={"a": (2,), "b": (3,)})
class StopsOneOfTwoContexts(Bijector):
    """Two contexts scale, and one of them learns nothing."""

    spec = BijectorSpec(log_det="constant", context="required")

    def build(self, x_shape, context_shape=None):
        self.kernels = [
            self.add_weight(shape=(context_shape[key][-1], x_shape[-1]), name=key) for key in ("b", "a")
        ]

    def _logs(self, context):
        b, a = (ops.cast(context[key], self.compute_dtype) for key in ("b", "a"))
        return ops.matmul(ops.stop_gradient(b), self.kernels[0]) + ops.matmul(a, self.kernels[1])

    def _forward(self, x, context):
        logs = self._logs(context)
        return x * ops.exp(logs), ops.sum(logs, axis=-1)

    def _inverse(self, z, context):
        logs = self._logs(context)
        return z * ops.exp(-logs), -ops.sum(logs, axis=-1)
