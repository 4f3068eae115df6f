"""nflows: the transforms that `nflows.transforms` exports, with random weights, in evaluation mode, without context."""

import nflows.transforms as t
import torch
from nflows.nn.nets import ConvResidualNet, ResidualNet
from peers.recipe import Recipe, classes
from peers.torch_weights import adapted, moved

from flowkit.contract import Domain

NAME, ENGINE, PACKAGE = "nflows", "torch", "nflows"

UNIT = {"domain": Domain.UNIT_INTERVAL, "codomain": Domain.UNIT_INTERVAL}
BALL = Domain.interval(-1, 1)


def image(n):
    """Channels first."""
    return (2 * n, 2, 4)


def net(inputs, outputs):
    return ResidualNet(inputs, outputs, hidden_features=8, num_blocks=1)


def coupling(cls, sizes=(3, 2), domain=None, codomain=None, **given):
    """A coupling that keeps every other entry."""

    def make(n):
        mask = torch.arange(n) % 2
        return moved(cls(mask, net, **given))

    return Recipe(make, sizes=sizes, domain=domain, codomain=codomain)


def autoregressive(cls, domain=None, codomain=None, **given):
    return Recipe(
        lambda n: moved(cls(features=n, hidden_features=8, num_blocks=1, **given)),
        domain=domain,
        codomain=codomain,
    )


def spline(cls, domain=None, codomain=None, **given):
    return Recipe(lambda n: moved(cls((n,), num_bins=5, **given)), domain=domain, codomain=codomain)


def both(name, make, **given):
    """A spline's recipes: between 0 and 1, and with straight tails."""
    cls = getattr(t, name)
    return {name: make(cls, **UNIT, **given), f"{name}(tails)": make(cls, **LINEAR, **given)}


def multiscale(n):
    whole = t.MultiscaleCompositeTransform(2, split_dim=1)
    rest = whole.add_transform(moved(t.LULinear(2 * n)), (2 * n,))
    whole.add_transform(moved(t.LULinear(rest[0])), rest)
    return whole


LINEAR = {"tails": "linear", "tail_bound": 3.0}

RECIPES = {
    "ActNorm": Recipe(lambda n: adapted(t.ActNorm(n), (n,))),
    "ActNorm(images)": Recipe(lambda n: adapted(t.ActNorm(2 * n), image(n)), event=image),
    "AdditiveCouplingTransform": coupling(t.AdditiveCouplingTransform),
    "AffineCouplingTransform": coupling(t.AffineCouplingTransform),
    "AffineCouplingTransform(images)": Recipe(
        lambda n: moved(
            t.AffineCouplingTransform(
                torch.arange(2 * n) % 2,
                lambda i, o: ConvResidualNet(i, o, hidden_channels=4, num_blocks=1),
            )
        ),
        event=image,
    ),
    "AffineScalarTransform": Recipe(lambda n: t.AffineScalarTransform(shift=0.5, scale=2.0)),
    "AffineTransform": Recipe(lambda n: t.AffineTransform(torch.randn(n), torch.rand(n) + 0.5)),
    "BatchNorm": Recipe(lambda n: adapted(t.BatchNorm(n), (n,))),
    "CompositeCDFTransform": Recipe(
        lambda n: t.CompositeCDFTransform(
            t.Sigmoid(), moved(t.PiecewiseRationalQuadraticCDF((n,), num_bins=5))
        )
    ),
    "CompositeTransform": Recipe(
        lambda n: t.CompositeTransform([moved(t.LULinear(n)), t.LeakyReLU(), t.ReversePermutation(n)])
    ),
    "HouseholderSequence": Recipe(lambda n: moved(t.HouseholderSequence(n, 3))),
    "IdentityTransform": Recipe(lambda n: t.IdentityTransform()),
    "InverseTransform": Recipe(lambda n: t.InverseTransform(t.LeakyReLU())),
    "LULinear": Recipe(lambda n: moved(t.LULinear(n, identity_init=False))),
    "LULinear(using_cache)": Recipe(lambda n: moved(t.LULinear(n, using_cache=True, identity_init=False))),
    "LeakyReLU": Recipe(lambda n: t.LeakyReLU()),
    "LogTanh": Recipe(lambda n: t.LogTanh()),
    "LogTanh(cut_point=0.5)": Recipe(lambda n: t.LogTanh(cut_point=0.5)),
    "Logit": Recipe(lambda n: t.Logit(), domain=Domain.UNIT_INTERVAL),
    "MaskedAffineAutoregressiveTransform": autoregressive(t.MaskedAffineAutoregressiveTransform),
    "MaskedPiecewiseCubicAutoregressiveTransform": autoregressive(
        t.MaskedPiecewiseCubicAutoregressiveTransform, num_bins=5, **UNIT
    ),
    "MaskedPiecewiseLinearAutoregressiveTransform": autoregressive(
        t.MaskedPiecewiseLinearAutoregressiveTransform, num_bins=5, **UNIT
    ),
    **both("MaskedPiecewiseQuadraticAutoregressiveTransform", autoregressive, num_bins=5),
    **both("MaskedPiecewiseRationalQuadraticAutoregressiveTransform", autoregressive, num_bins=5),
    "MultiscaleCompositeTransform": Recipe(multiscale, event=lambda n: (2 * n,)),
    "NaiveLinear": Recipe(lambda n: moved(t.NaiveLinear(n))),
    "OneByOneConvolution": Recipe(
        lambda n: moved(t.OneByOneConvolution(2 * n, identity_init=False)), event=image
    ),
    "Permutation": Recipe(lambda n: t.Permutation(torch.randperm(n))),
    **both("PiecewiseCubicCDF", spline),
    **both("PiecewiseCubicCouplingTransform", coupling, num_bins=5),
    **both("PiecewiseLinearCDF", spline),
    **both("PiecewiseLinearCouplingTransform", coupling, num_bins=5),
    **both("PiecewiseQuadraticCDF", spline),
    **both("PiecewiseQuadraticCouplingTransform", coupling, num_bins=5),
    **both("PiecewiseRationalQuadraticCDF", spline),
    **both("PiecewiseRationalQuadraticCouplingTransform", coupling, num_bins=5),
    "PointwiseAffineTransform": Recipe(
        lambda n: t.PointwiseAffineTransform(torch.randn(n), torch.rand(n) + 0.5)
    ),
    "PointwiseAffineTransform(images)": Recipe(
        lambda n: t.PointwiseAffineTransform(torch.randn(2 * n, 1, 1), torch.rand(2 * n, 1, 1) + 0.5),
        event=image,
    ),
    "QRLinear": Recipe(lambda n: moved(t.QRLinear(n, num_householder=2))),
    "RandomPermutation": Recipe(lambda n: t.RandomPermutation(n)),
    "ReversePermutation": Recipe(lambda n: t.ReversePermutation(n)),
    "ReversePermutation(images)": Recipe(lambda n: t.ReversePermutation(2 * n, dim=1), event=image),
    "SVDLinear": Recipe(lambda n: moved(t.SVDLinear(n, num_householder=2, identity_init=False))),
    "Sigmoid": Recipe(lambda n: t.Sigmoid(), codomain=Domain.UNIT_INTERVAL),
    "Sigmoid(learn_temperature)": Recipe(
        lambda n: moved(t.Sigmoid(learn_temperature=True)), codomain=Domain.UNIT_INTERVAL
    ),
    "SqueezeTransform": Recipe(lambda n: t.SqueezeTransform(), event=image),
    "SqueezeTransform(factor=3)": Recipe(lambda n: t.SqueezeTransform(3), event=lambda n: (n, 3, 3)),
    "Tanh": Recipe(lambda n: t.Tanh(), codomain=BALL),
}
NO_RECIPE = {
    "GatedLinearUnit": "its gate is the context, which an adapted bijector is not given",
}


def exports():
    return classes(t, t.Transform)
