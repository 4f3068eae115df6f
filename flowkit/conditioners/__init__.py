"""Networks that produce the parameters of a bijector: each a `flowkit.Conditioner`, or a plain Keras layer.

A conditioner is called as `h = net(x)`, or `net(x, context=...)` if its attribute `context` is "optional" or
"required". `features`, the number of channels it answers with, may be left None for the bijector that owns it to fill
in. One that has `adapt(x)` takes part in data-dependent initialisation.
"""

from flowkit.conditioners.angular_made import AngularMADE
from flowkit.conditioners.angular_mlp import AngularMLP
from flowkit.conditioners.convnet import ConvNet
from flowkit.conditioners.lipschitz_mlp import LipschitzMLP
from flowkit.conditioners.made import MADE
from flowkit.conditioners.mlp import MLP
from flowkit.conditioners.place_prior import PlacePrior
from flowkit.conditioners.residual_made import ResidualMADE
from flowkit.conditioners.residual_mlp import ResidualMLP
from flowkit.conditioners.scaled_conv import ScaledConv
from flowkit.conditioners.scaled_dense import ScaledDense
from flowkit.conditioners.standardized_context import StandardizedContext
from flowkit.conditioners.top_prior import TopPrior

__all__ = [
    "MADE",
    "MLP",
    "AngularMADE",
    "AngularMLP",
    "ConvNet",
    "LipschitzMLP",
    "PlacePrior",
    "ResidualMADE",
    "ResidualMLP",
    "ScaledConv",
    "ScaledDense",
    "StandardizedContext",
    "TopPrior",
]
