"""Increasing maps of a number, which parameters steer: what couplings and autoregressive layers do to each entry."""

from flowkit.transforms.additive import Additive
from flowkit.transforms.affine import Affine
from flowkit.transforms.bernstein import Bernstein
from flowkit.transforms.by_column import ByColumn
from flowkit.transforms.circular import CircularRationalQuadratic
from flowkit.transforms.gaussian import Gaussian
from flowkit.transforms.linear_spline import LinearSpline
from flowkit.transforms.mixture_of_logistics import MixtureOfLogistics
from flowkit.transforms.quadratic_spline import QuadraticSpline
from flowkit.transforms.rational_quadratic import RationalQuadratic
from flowkit.transforms.scale_shift import ScaleShift
from flowkit.transforms.sigmoid_mixture import SigmoidMixture
from flowkit.transforms.soft_clipped_spline import SoftClippedSpline
from flowkit.transforms.solved import Solved, StraightTails
from flowkit.transforms.sum_of_squares import SumOfSquares
from flowkit.transforms.transform import Transform
from flowkit.transforms.unconstrained_monotone import UnconstrainedMonotone

__all__ = [
    "Additive",
    "Affine",
    "Bernstein",
    "ByColumn",
    "CircularRationalQuadratic",
    "Gaussian",
    "LinearSpline",
    "MixtureOfLogistics",
    "QuadraticSpline",
    "RationalQuadratic",
    "ScaleShift",
    "SigmoidMixture",
    "SoftClippedSpline",
    "Solved",
    "StraightTails",
    "SumOfSquares",
    "Transform",
    "UnconstrainedMonotone",
]
