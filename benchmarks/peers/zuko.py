"""zuko: its transforms, and those that its flows and lazy transforms make (with random weights, no context)."""

import math

import torch
import zuko
import zuko.flows as f
import zuko.transforms as t
from peers.recipe import Recipe, classes
from peers.torch_weights import moved

from flowkit.contract import Domain

NAME, ENGINE, PACKAGE = "zuko", "torch", "zuko"

# Inverses by bisection, to 1e-6, between -10 and 10: "the domain bound".
BISECTED = {"inverse": "iterative", "domain": Domain.interval(-10, 10)}
# Solved to rtol=1e-5; that of the log-det's trace is documented in the source as 100 times that.
SOLVED = {"inverse": "iterative", "tolerance": 1e-3}


def vector(transform):
    """An elementwise transform as one of vectors."""
    return t.DependentTransform(transform, 1)


def from_flow(make, **about):
    """The transform of a flow or lazy transform whose weights are moved away from where they start."""

    def made(n):
        module = moved(make(n))
        with torch.no_grad():
            lazy = module.transform if hasattr(module, "transform") else module
            return lazy()

    return Recipe(made, **about)


def couple(mask_size, n):
    """A coupling whose network is a fixed random matrix."""
    weight = torch.randn(mask_size, n - mask_size)

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(weight)

        def forward(self, x):
            h = torch.tanh(x @ self.weight)
            return vector(t.MonotonicAffineTransform(h, h * 0.7))

    mask = torch.zeros(n, dtype=torch.bool)
    mask[:mask_size] = True
    return t.CouplingTransform(Net(), mask)


class Autoregression(torch.nn.Module):
    """The parameters of entry i from the entries before it, linearly."""

    def __init__(self, n):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tril(torch.randn(n, n), -1))

    def forward(self, x):
        h = torch.tanh(x @ self.weight.T)
        return vector(t.MonotonicAffineTransform(h, h * 0.7))


class Swirl(torch.nn.Module):
    """A vector field for an ordinary differential equation."""

    def __init__(self, n):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(n, n))

    def forward(self, time, x):
        return torch.tanh(x @ self.weight)


RECIPES = {
    "AdditiveTransform": Recipe(lambda n: t.AdditiveTransform(torch.randn(n))),
    "AutoregressiveTransform": Recipe(lambda n: t.AutoregressiveTransform(Autoregression(n), passes=n)),
    "BernsteinTransform": Recipe(lambda n: t.BernsteinTransform(torch.randn(n, 8)), inverse="iterative"),
    "BoundedBernsteinTransform": Recipe(
        lambda n: t.BoundedBernsteinTransform(torch.randn(n, 8)), inverse="iterative"
    ),
    "CircularShiftTransform": Recipe(
        lambda n: t.CircularShiftTransform(bound=1.0),
        domain=Domain("circle", -1, 1),
        codomain=Domain("circle", -1, 1),
    ),
    "ComposedTransform": Recipe(
        lambda n: t.ComposedTransform(
            t.MonotonicAffineTransform(torch.randn(n), torch.randn(n)), t.SoftclipTransform(4.0)
        )
    ),
    "CosTransform": Recipe(lambda n: t.CosTransform()),
    "CouplingTransform": Recipe(lambda n: couple(n // 2, n), sizes=(3, 2)),
    "DependentTransform": Recipe(lambda n: t.DependentTransform(t.SoftclipTransform(), 1)),
    "FreeFormJacobianTransform": Recipe(lambda n: t.FreeFormJacobianTransform(Swirl(n)), **SOLVED),
    "GaussianizationTransform": Recipe(
        lambda n: t.GaussianizationTransform(torch.randn(n, 4), torch.randn(n, 4)), **BISECTED
    ),
    "IdentityTransform": Recipe(lambda n: t.IdentityTransform()),
    "LULinearTransform": Recipe(lambda n: t.LULinearTransform(torch.randn(n, n) + 2 * torch.eye(n))),
    "MonotonicAffineTransform": Recipe(lambda n: t.MonotonicAffineTransform(torch.randn(n), torch.randn(n))),
    "MonotonicRQSTransform": Recipe(
        lambda n: t.MonotonicRQSTransform(torch.randn(n, 8), torch.randn(n, 8), torch.randn(n, 7))
    ),
    "MonotonicTransform": Recipe(
        lambda n: t.MonotonicTransform(lambda x: x + torch.tanh(x) / 2),
        **BISECTED,
        codomain=Domain.interval(-10, 10),
    ),
    "PermutationTransform": Recipe(lambda n: t.PermutationTransform(torch.randperm(n))),
    "RotationTransform": Recipe(lambda n: t.RotationTransform(torch.randn(n, n))),
    "SOSPolynomialTransform": Recipe(
        lambda n: t.SOSPolynomialTransform(torch.randn(n, 3, 5), torch.randn(n)), **BISECTED
    ),
    "SignedPowerTransform": Recipe(lambda n: t.SignedPowerTransform(torch.tensor(0.3))),
    "SignedPowerTransform(negative)": Recipe(lambda n: t.SignedPowerTransform(torch.tensor(-0.5))),
    "SinTransform": Recipe(lambda n: t.SinTransform()),
    "SoftclipTransform": Recipe(lambda n: t.SoftclipTransform()),
    "UnconstrainedMonotonicTransform": Recipe(
        lambda n: t.UnconstrainedMonotonicTransform(lambda x: 1 + torch.sigmoid(x)),
        **BISECTED,
        codomain=Domain.interval(-10, 10),
    ),
    "flows.BPF": from_flow(lambda n: f.BPF(n, transforms=2, hidden_features=(8,)), **BISECTED),
    "flows.CNF": from_flow(lambda n: f.CNF(n, hidden_features=(8,)), **SOLVED),
    "flows.ElementWiseTransform": from_flow(lambda n: f.ElementWiseTransform(n)),
    "flows.FFJTransform": from_flow(lambda n: f.FFJTransform(n, hidden_features=(8,)), **SOLVED),
    "flows.GF": from_flow(lambda n: f.GF(n, transforms=2), **BISECTED),
    "flows.GeneralCouplingTransform": from_flow(
        lambda n: f.GeneralCouplingTransform(n, hidden_features=(8,)), sizes=(3, 2)
    ),
    "flows.MAF": from_flow(lambda n: f.MAF(n, transforms=2, hidden_features=(8,))),
    "flows.MAF(randperm)": from_flow(lambda n: f.MAF(n, transforms=2, randperm=True, hidden_features=(8,))),
    "flows.MaskedAutoregressiveTransform": from_flow(
        lambda n: f.MaskedAutoregressiveTransform(n, hidden_features=(8,))
    ),
    "flows.NAF": from_flow(
        lambda n: f.NAF(n, transforms=2, hidden_features=(8,), network={"hidden_features": (8,)}), **BISECTED
    ),
    "flows.NCSF": from_flow(
        lambda n: f.NCSF(n, transforms=2, hidden_features=(8,)),
        domain=Domain("circle", -math.pi, math.pi),
        codomain=Domain("circle", -math.pi, math.pi),
    ),
    "flows.NICE": from_flow(lambda n: f.NICE(n, transforms=2, hidden_features=(8,)), sizes=(3, 2)),
    "flows.NSF": from_flow(lambda n: f.NSF(n, transforms=2, hidden_features=(8,))),
    "flows.RealNVP": from_flow(lambda n: f.RealNVP(n, transforms=2, hidden_features=(8,)), sizes=(3, 2)),
    "flows.SOSPF": from_flow(lambda n: f.SOSPF(n, transforms=2, hidden_features=(8,)), **BISECTED),
    "flows.UNAF": from_flow(
        lambda n: f.UNAF(n, transforms=2, hidden_features=(8,), network={"hidden_features": (8,)}), **BISECTED
    ),
    "lazy.UnconditionalTransform": from_flow(
        lambda n: zuko.lazy.UnconditionalTransform(t.MonotonicAffineTransform, torch.randn(n), torch.randn(n))
    ),
}
NO_RECIPE = {
    "flows.GMM": "a mixture of Gaussians, without a transform",
    "lazy.LazyInverse": "the inverse of another lazy transform",
    "lazy.LazyComposedTransform": "a composition of other lazy transforms; flows.* are such",
}


def exports():
    """Transforms by their names; flows and lazy transforms with their module's."""
    flows = {**{n: c for n, c in vars(f).items() if isinstance(c, type)}}
    lazy = (zuko.lazy.LazyTransform, zuko.lazy.LazyDistribution)
    named = [
        f"flows.{n}"
        for n, c in flows.items()
        if issubclass(c, lazy) and c.__module__.startswith("zuko.flows")
    ]
    others = [
        f"lazy.{n}"
        for n, c in vars(zuko.lazy).items()
        if isinstance(c, type) and issubclass(c, zuko.lazy.LazyTransform) and c is not zuko.lazy.LazyTransform
    ]
    return classes(t, torch.distributions.Transform) + sorted(named) + sorted(others)
