"""Base densities: what the latents of a fitted flow follow."""

import keras

from flowkit.distributions.distribution import Distribution, Uniform
from flowkit.distributions.joint import Joint
from flowkit.distributions.location_scale import LocationScale, Logistic, Normal, StudentT
from flowkit.distributions.mixture import Mixture
from flowkit.distributions.mixture_of_flows import MixtureOfFlows

__all__ = [
    "Distribution",
    "Joint",
    "LocationScale",
    "Logistic",
    "Mixture",
    "MixtureOfFlows",
    "Normal",
    "StudentT",
    "Uniform",
]

# Keras then finds these classes in files.
for _name in __all__:
    keras.saving.register_keras_serializable("flowkit")(globals()[_name])
