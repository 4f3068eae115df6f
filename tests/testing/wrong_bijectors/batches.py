"""Samples that see each other, and shapes that only fit one batch."""

from keras import ops

from flowkit.bijectors import Exp, Scale, Shift
from flowkit.contract import Bijector, BijectorSpec
from tests.testing.wrong_bijectors.registry import breaks


@breaks("batch independence")
class BatchNormalised(Bijector):
    """The shift is the batch's own mean."""

    spec = BijectorSpec(log_det="zero")

    def _forward(self, x):
        return x - ops.mean(x, axis=0, keepdims=True), 0.0

    def _inverse(self, z):
        return z + ops.mean(z, axis=0, keepdims=True), 0.0


@breaks("batch independence")
class LogDetRolled(Exp):
    def run(self, x, call, noise=None, derived=None):
        y, log_det = super().run(x, call, noise, derived)
        return y, ops.roll(log_det, 1, axis=0)


@breaks("batch independence")
class WrongInLargeBatches(Scale):
    """The log-dets of the rows after the 40th are off."""

    def _forward(self, x):
        z, log_det = super()._forward(x)
        return z, log_det + ops.cast(ops.cumsum(ops.ones_like(x[:, 0])) > 40, x.dtype)


@breaks("empty batch", says="index 0 is out of bounds")
class NeedsASample(Shift):
    def _forward(self, x):
        if x.shape[0] == 0:
            raise IndexError("index 0 is out of bounds for axis 0 with size 0")
        return super()._forward(x)


@breaks("empty batch", says="shapes (0, 3) and (0,), (1, 3) and (0,)")
class OneRowAtLeast(Shift):
    """Nothing in, one row out."""

    def _forward(self, x):
        return (ops.zeros((1, *x.shape[1:])) if x.shape[0] == 0 else x) + self.shift, 0.0


@breaks("log-det shape", says="received shape (3, 3)")
class PerEntry(Scale):
    """One log-derivative for each entry, not summed."""

    def _forward(self, x):
        return x * ops.exp(self.log_scale), self.log_scale + ops.zeros_like(x)

    def _inverse(self, z):
        return z * ops.exp(-self.log_scale), -self.log_scale + ops.zeros_like(z)


@breaks("log-det shape", says="received shape (3, 1)")
class KeptDimension(Exp):
    def run(self, x, call, noise=None, derived=None):
        y, log_det = super().run(x, call, noise, derived)
        return y, log_det[:, None]


@breaks("log-det shape", says="received shape (1,)")
class ShapeOne(Scale):
    """(1,), which broadcasts and is no scalar."""

    def _forward(self, x):
        z, log_det = super()._forward(x)
        return z, ops.reshape(log_det, (1,))


@breaks("log-det shape", says="a log_det of at least float32 from forward, float16")
class LowPrecisionLogDet(Exp):
    def call(self, x, context=None, inverse=False, noise=None):
        y, log_det = super().call(x, context, inverse, noise)
        return y, ops.cast(log_det, "float16")


@breaks("log-det shape", says="an output of dtype float32 from forward, float16")
class LowPrecisionOutput(Shift):
    def _forward(self, x):
        return ops.cast(x + self.shift, "float16"), 0.0


@breaks("shape inference", (2, 4), says="compute_output_shape to answer (None, 8), (None, 4, 2)")
class ShapeNotTold(Bijector):
    """Flattens, and does not say so."""

    spec = BijectorSpec(log_det="zero", event_rank=2)

    def _forward(self, x):
        return ops.reshape(x, (-1, 8)), 0.0

    def _inverse(self, z):
        return ops.reshape(z, (-1, 2, 4)), 0.0

    def compute_inverse_shape(self, latent_shape):
        return (latent_shape[0], 2, 4)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], 4, 2)


@breaks("shape inference", (2, 4), says="compute_output_shape to answer (None, 8), (1, 8)")
class ShapeWithoutBatch(ShapeNotTold):
    def compute_output_shape(self, input_shape):
        return (input_shape[0] or 1, 8)
