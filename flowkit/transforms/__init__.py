"""Increasing maps of a number, which parameters steer: what couplings and autoregressive layers do to each entry."""

from flowkit.transforms.additive import Additive
from flowkit.transforms.affine import Affine
from flowkit.transforms.gaussian import Gaussian
from flowkit.transforms.rational_quadratic import RationalQuadratic
from flowkit.transforms.sigmoid_mixture import SigmoidMixture
from flowkit.transforms.transform import Transform

__all__ = ["Additive", "Affine", "Gaussian", "RationalQuadratic", "SigmoidMixture", "Transform"]
