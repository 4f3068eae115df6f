"""Base densities: what the latents of a fitted flow follow."""

from flowkit.distributions.distribution import Distribution
from flowkit.distributions.joint import Joint
from flowkit.distributions.location_scale import LocationScale, Logistic, Normal, StudentT
from flowkit.distributions.mixture import Mixture
from flowkit.distributions.uniform import Uniform

__all__ = ["Distribution", "Joint", "LocationScale", "Logistic", "Mixture", "Normal", "StudentT", "Uniform"]
