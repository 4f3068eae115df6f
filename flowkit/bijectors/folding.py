"""Two parts of a chain that cost less as one: an actnorm's scale goes into the matrix that follows it."""

from keras import ops

from flowkit.bijectors.actnorm import ActNorm
from flowkit.bijectors.conv1x1 import Conv1x1
from flowkit.bijectors.places import channel_log_det, places
from flowkit.numerics import matmul


def fold(parts):
    """What to run in place of `parts`, in their order: the same maps, some of them two at a time."""
    folded = []
    for part in parts:
        # Subclasses may compute something else.
        if type(part) is Conv1x1 and folded and type(folded[-1]) is ActNorm:
            part = NormalizedMix(folded.pop(), part)
        folded.append(part)
    return folded


class NormalizedMix:
    """z = (x + shift) (diag(scale) W), an ActNorm and then a Conv1x1: a product less for every entry.

    The shift stays with x, since scale * (x + shift) of channels that are far from 0 would cancel otherwise.
    """

    def __init__(self, norm, mix):
        self.norm, self.mix = norm, mix

    def run(self, x, context, inverse):
        """As `Bijector.run`."""
        log_scale = self.norm.log_scale
        log_det = channel_log_det(log_scale, x) + places(x) * self.mix.log_abs_det()
        if inverse:
            matrix = self.mix.inverse_matrix() * ops.exp(-log_scale)
            return matmul(x, matrix) - self.norm.shift.value, -log_det
        return matmul(x + self.norm.shift.value, ops.exp(log_scale)[:, None] * self.mix.matrix()), log_det
