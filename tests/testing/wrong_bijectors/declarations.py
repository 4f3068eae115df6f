"""Specs that promise what the map does not do."""

from keras import ops

from flowkit.bijectors import Elementwise, Exp, Scale, Shift, Sigmoid, Squeeze
from flowkit.contract import Bijector, BijectorSpec, Domain
from tests.testing.wrong_bijectors.registry import breaks


@breaks("log-det kind")
class SaysZero(Scale):
    spec = BijectorSpec(log_det="zero")


@breaks("log-det kind")
class SaysConstant(Exp):
    spec = BijectorSpec(log_det="constant", codomain=Domain.POSITIVE)


@breaks("codomain", says="forward(x) in Domain.POSITIVE")
class SaysPositive(Shift):
    spec = BijectorSpec(log_det="zero", codomain=Domain.POSITIVE)


@breaks("domain", says="a finite output and log-det inside the domain")
class DomainTooLarge(Elementwise):
    """A logarithm that is said to take the whole interval (-1, 1)."""

    spec = BijectorSpec(domain=Domain.interval(-1, 1))

    def _forward(self, x):
        return ops.log(x), -ops.log(x)

    def _inverse(self, z):
        return ops.exp(z), z


@breaks("domain", says="inverse(z) in Domain.POSITIVE")
class DomainTooSmall(Shift):
    spec = BijectorSpec(log_det="zero", domain=Domain.POSITIVE)


@breaks("inverse round trip")
class CodomainTooLarge(Sigmoid):
    """Said to map onto (-1, 1), half of which it never reaches."""

    spec = BijectorSpec(codomain=Domain.interval(-1, 1))

    def _inverse(self, y):
        y = ops.clip(y, 1e-6, 1 - 1e-6)
        return super()._inverse(y)


@breaks("wrong rank", (2, 2, 3), says="a ValueError for forward's events of rank 2, an answer")
class TakesAnyRank(Squeeze):
    """The check of the base class is overridden, and reshape takes what comes."""

    def _check_input(self, x, context, inverse):
        pass

    def _forward(self, x):
        return ops.reshape(x, (x.shape[0], 1, 1, -1)), 0.0


@breaks("wrong rank", (3,), says="a ValueError for inverse's events of rank 2, an answer")
class TakesAnyLatent(Shift):
    """Only the data are checked."""

    spec = BijectorSpec(event_rank=1, log_det="zero")

    def _check_input(self, x, context, inverse):
        if not inverse:
            super()._check_input(x, context, inverse)


@breaks("wrong size", (3,), says="a ValueError for 4 channels from weights made for 3, an answer")
class BroadcastsByAccident(Bijector):
    """A weight of one channel fits all; the spec's check is gone."""

    spec = BijectorSpec(log_det="zero")

    def build(self, x_shape):
        self.shift = self.add_weight(shape=(1,), initializer="zeros", name="shift")

    def _check_input(self, x, context, inverse):
        pass

    def _forward(self, x):
        return x + self.shift, 0.0

    def _inverse(self, z):
        return z - self.shift, 0.0


@breaks("wrong size", (2, 4, 1), says="a ValueError for an axis of 3, no multiple of 2, an answer")
class CropsByAccident(Squeeze):
    """An odd row is cut off without a word."""

    def _check_input(self, x, context, inverse):
        pass

    def _forward(self, x):
        _, h, w, _ = x.shape
        return super()._forward(x[:, : h // 2 * 2, : w // 2 * 2])


@breaks("wrong size", (3,), says="a ValueError for 4 channels from weights made for 3, KeyError")
class OpaqueError(Shift):
    """Refuses with an error that no caller of a bijector expects."""

    def _check_input(self, x, context, inverse):
        if self.built and x.shape[-1] != self.shift.shape[0]:
            raise KeyError("shift")


@breaks("wrong size", (3,), says="a ValueError for inverse's events of shape (4,), an answer")
class LatentsCutToFit(Shift):
    """Latents that are too long lose their end."""

    def _check_input(self, x, context, inverse):
        if not inverse:
            super()._check_input(x, context, inverse)

    def _inverse(self, z):
        return z[:, : self.shift.shape[0]] - self.shift, 0.0


@breaks("wrong size", (4,), says="or an answer of shape (5,), as compute_output_shape says, shape (4,)")
class DropsTheLast(Bijector):
    """Pairs change places; a fifth entry is lost, in a map without weights that says it takes any size."""

    spec = BijectorSpec(log_det="zero")

    def _forward(self, x):
        half = x.shape[-1] // 2
        return ops.concatenate([x[:, half : 2 * half], x[:, :half]], axis=-1), 0.0

    def _inverse(self, z):
        return self._forward(z)


@breaks("wrong size", (4,), says="a ValueError for inverse's events of shape (5,), or an answer, ")
class OpaqueErrorBack(DropsTheLast):
    """The inverse knows its size, and answers to another one with whatever error that gives."""

    def _forward(self, x):
        return ops.flip(x, axis=-1), 0.0

    def _inverse(self, z):
        return ops.stack([z[:, i] for i in {4: (3, 2, 1, 0)}[z.shape[-1]]], axis=-1), 0.0


@breaks("rearranges", says="in other places from forward")
class ChangesSigns(Bijector):
    """Volume is preserved, and a Chain would hand positive numbers on as positive."""

    spec = BijectorSpec(log_det="zero", rearranges=True)

    def _forward(self, x):
        return -ops.flip(x, axis=-1), 0.0

    def _inverse(self, z):
        return -ops.flip(z, axis=-1), 0.0
