"""Networks that produce the parameters of a bijector: each a `flowkit.Conditioner`, or a plain Keras layer.

A conditioner is called as `h = net(x)`, or `net(x, context=...)` if its attribute `context` is "optional" or
"required". `features`, the number of channels it answers with, may be left None for the bijector that owns it to fill
in. One that has `adapt(x)` takes part in data-dependent initialisation.
"""

import keras

from flowkit.conditioners.causal import CausalConvNet
from flowkit.conditioners.context import LabelDropout, StandardizedContext
from flowkit.conditioners.convnets import ConvNet, GatedAttention, GatedConvNet, ResidualConvNet
from flowkit.conditioners.fields import Field, UNet
from flowkit.conditioners.made import MADE, AngularMADE, ResidualMADE
from flowkit.conditioners.mlp import MLP, AngularMLP, LipschitzMLP, ResidualMLP
from flowkit.conditioners.priors import PlacePrior, SplitPrior, TopPrior
from flowkit.conditioners.scaled import ScaledConv, ScaledDense
from flowkit.conditioners.sets import DeepSet, ObservedContext, RandomSizes
from flowkit.conditioners.transformer import CausalTransformer, ViT

__all__ = [
    "MADE",
    "MLP",
    "AngularMADE",
    "AngularMLP",
    "CausalConvNet",
    "CausalTransformer",
    "ConvNet",
    "DeepSet",
    "Field",
    "GatedAttention",
    "GatedConvNet",
    "LabelDropout",
    "LipschitzMLP",
    "ObservedContext",
    "PlacePrior",
    "RandomSizes",
    "ResidualConvNet",
    "ResidualMADE",
    "ResidualMLP",
    "ScaledConv",
    "ScaledDense",
    "SplitPrior",
    "StandardizedContext",
    "TopPrior",
    "UNet",
    "ViT",
]

# Keras then finds these classes in files.
for _name in __all__:
    keras.saving.register_keras_serializable("flowkit")(globals()[_name])
