"""Right layers that draw, solve or refresh."""

import keras

from flowkit import bijectors as fb
from flowkit.conditioners import MLP, ConvNet, GatedConvNet
from flowkit.contract import Bijector, BijectorSpec, Domain
from flowkit.data import Dequantize, VariationalDequantize
from flowkit.surjections import Absolute, Augment, DequantizeColumns, MaxPool, Slice, Sort, StochasticPermute
from flowkit.testing import Case
from flowkit.transforms import Affine, Gaussian
from tests.testing.residual_layers import Hutchinson, Spectral


def density():
    """q(. | kept): a Gaussian whose mean and deviation a small network reads off what is kept."""
    return fb.Pointwise(Gaussian(), MLP([4]))


@keras.saving.register_keras_serializable("tests")
class SliceOf3(Slice):
    """A `Slice` that knows before it is built that the data have 3 channels, so that it can be read backwards."""

    def compute_inverse_shape(self, latent_shape):
        return super().compute_inverse_shape(latent_shape) if self.built else (*latent_shape[:-1], 3)


@keras.saving.register_keras_serializable("tests")
class Sampler(Bijector):
    """x = exp(w) z: there is no way from the data back, and the spec says so."""

    spec = BijectorSpec(log_det="constant", forward="none")

    def build(self, x_shape):
        self.w = self.add_weight(shape=(x_shape[-1],), initializer="zeros", name="w")

    def _inverse(self, z):
        return z * keras.ops.exp(self.w), keras.ops.sum(self.w)


@keras.saving.register_keras_serializable("tests")
class Signed(Absolute):
    """z = x or -x, drawn by discrete noise; the way back takes the absolute value."""

    spec = BijectorSpec(noise="forward", likelihood="bound", domain=Domain.POSITIVE, log_det="constant")

    def _forward(self, x, noise):
        return super()._inverse(x, noise)

    def _inverse(self, z):
        return super()._forward(z)


def levels(*first):
    """A `MultiScale` of two levels, of which the first has these parts after the squeeze."""
    return fb.MultiScale([fb.Chain([fb.Squeeze(), *first]), fb.Chain([fb.Squeeze(), fb.Conv1x1(seed=1)])])


def of_images(**options):
    """Variational dequantisation whose density reads a map that a network makes of the image."""
    density = fb.Coupling(ConvNet(4, context="required"), Affine("tanh"), split="checkerboard")
    return VariationalDequantize(density, GatedConvNet(2, blocks=1), **options)


VECTOR, IMAGE = ((1,), (3,)), ((2, 1, 3),)

DRAWING = [
    Case("Slice", lambda: Slice(1, density()), ((2,), (4,))),
    Case("Slice(standard)", lambda: Slice(2), IMAGE),
    Case("Absolute", Absolute, ((2,), (1, 2, 1))),
    Case("Sort", Sort, ((3,), (1, 2, 2))),
    Case("StochasticPermute", StochasticPermute, ((3,), (1, 2, 2))),
    Case("MaxPool", MaxPool, ((2, 2, 1), (2, 4, 2))),
    Case("Augment", lambda: Augment(2, density()), VECTOR),
    Case(
        "Augment(images)",
        lambda: Augment(2, fb.Coupling(ConvNet(4, context="required"), Affine("tanh"))),
        ((2, 1, 3),),
    ),
    Case("Augment(standard)", lambda: Augment(1), IMAGE),
    Case("Dequantize", Dequantize(), (*VECTOR, *IMAGE)),
    Case("Dequantize(5 bits)", Dequantize(5), ((3,),)),
    Case("Dequantize(17 levels)", Dequantize(levels=17), ((3,),)),
    Case("VariationalDequantize", lambda: VariationalDequantize(fb.Pointwise("affine", MLP([4]))), ((3,),)),
    Case(
        "VariationalDequantize(images)",
        lambda: of_images(n_bits=5),
        ((2, 2, 1),),
        tolerated={"inverse log-det": "so near to an end of its cell u has lost the digits of its logit"},
    ),
    Case(
        "DequantizeColumns",
        lambda: DequantizeColumns([("whole", 3), ("category", 3), "positive"], conditioner=MLP([4])),
        ((3,),),
    ),
    Case(
        "DequantizeColumns(atoms)",
        lambda: DequantizeColumns([("whole", 3)], atoms=[(0, 3), (0, 4)]),
        ((1,),),
    ),
    Case(
        "DequantizeColumns(uniform)",
        lambda: DequantizeColumns([("category", 5), ("cycle", 4), ("whole", -2, 1)]),
        ((3,),),
    ),
    Case("Inverse(Slice)", lambda: fb.Inverse(SliceOf3(1, density())), ((1,),)),
    Case("Inverse(Augment)", lambda: fb.Inverse(Augment(1, density())), ((3,),)),
    Case("Inverse(Dequantize)", fb.Inverse(Dequantize()), ((3,),)),
    Case("Inverse(Dequantize(5 bits))", fb.Inverse(Dequantize(5)), ((3,),)),
    Case("Chain(Augment, Slice)", lambda: fb.Chain([Augment(1), fb.Coupling(MLP([4])), Slice(1)]), ((3,),)),
    Case(
        "Chain(Dequantize, MultiScale(Augment))",
        fb.Chain([Dequantize(), levels(Augment(4), fb.ActNorm())]),
        ((4, 4, 1),),
    ),
    Case("MultiScale(Slice)", lambda: levels(Slice(2)), ((4, 4, 1),)),
    Case("Chain(Hutchinson, Slice)", lambda: fb.Chain([Hutchinson(), Slice(1)]), ((2,),)),
    Case("Spectral", Spectral, ((3,),)),
    Case("Signed", Signed, ((2,), (2, 1, 1))),
    Case("Sampler", Sampler, ((3,),)),
    Case("Inverse(Sampler)", lambda: fb.Inverse(Sampler()), ((3,),)),
]
