"""torch.distributions: the transforms that `torch.distributions.transforms` exports."""

import torch
import torch.distributions as td
import torch.distributions.transforms as t
from peers.recipe import Recipe, classes

NAME, ENGINE, MODULE, PACKAGE = "torch.distributions", "torch", t, "torch"

SQUARE = "maps n numbers onto n x n matrices of a subset that flowkit's Domain does not describe"

RECIPES = {
    "AffineTransform": Recipe(lambda n: t.AffineTransform(torch.randn(n), torch.randn(n))),
    "AffineTransform(event_dim=1)": Recipe(
        lambda n: t.AffineTransform(torch.randn(n), torch.randn(n), event_dim=1)
    ),
    "AffineTransform(scalar scale, event_dim=1)": Recipe(lambda n: t.AffineTransform(1.0, -2.0, event_dim=1)),
    "CatTransform": Recipe(
        lambda n: t.CatTransform(
            [t.AffineTransform(0.0, 2.0), t.TanhTransform()], dim=-1, lengths=[n - 1, 1]
        ),
        sizes=(3, 2),
    ),
    "ComposeTransform": Recipe(lambda n: t.ComposeTransform([t.AffineTransform(0.5, 2.0), t.ExpTransform()])),
    "CumulativeDistributionTransform": Recipe(
        lambda n: t.CumulativeDistributionTransform(
            td.Normal(torch.tensor(0.3), torch.tensor(1.7), validate_args=False)
        )
    ),
    "CumulativeDistributionTransform(Cauchy)": Recipe(
        lambda n: t.CumulativeDistributionTransform(
            td.Cauchy(torch.tensor(0.3), torch.tensor(1.7), validate_args=False)
        )
    ),
    "ExpTransform": Recipe(lambda n: t.ExpTransform()),
    "IndependentTransform": Recipe(lambda n: t.IndependentTransform(t.TanhTransform(), 1)),
    "PowerTransform": Recipe(lambda n: t.PowerTransform(torch.rand(n) + 0.5)),
    "PowerTransform(negative)": Recipe(lambda n: t.PowerTransform(torch.tensor(-2.0))),
    "ReshapeTransform": Recipe(lambda n: t.ReshapeTransform((n, 2), (2 * n,)), event=lambda n: (n, 2)),
    "SigmoidTransform": Recipe(lambda n: t.SigmoidTransform()),
    "SoftplusTransform": Recipe(lambda n: t.SoftplusTransform()),
    "StackTransform": Recipe(
        lambda n: t.StackTransform([t.TanhTransform(), *[t.AffineTransform(0.1, 3.0)] * (n - 1)], dim=-1)
    ),
    "StickBreakingTransform": Recipe(lambda n: t.StickBreakingTransform()),
    "TanhTransform": Recipe(lambda n: t.TanhTransform()),
}
NO_RECIPE = {
    "AbsTransform": "not invertible, as it says (bijective=False)",
    "CorrCholeskyTransform": SQUARE,
    "LowerCholeskyTransform": SQUARE,
    "PositiveDefiniteTransform": SQUARE,
    "SoftmaxTransform": "not invertible, as it says (bijective=False)",
}


def exports():
    return classes(t, t.Transform)
