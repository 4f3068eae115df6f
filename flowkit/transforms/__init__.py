"""Increasing maps of a number, which parameters steer: what couplings and autoregressive layers do to each entry."""

import keras

from flowkit.transforms.affine import Additive, Affine, Gaussian, ScaleShift
from flowkit.transforms.by_column import ByColumn
from flowkit.transforms.mixtures import MixtureOfLogistics, SigmoidMixture
from flowkit.transforms.polynomials import Bernstein, SumOfSquares
from flowkit.transforms.splines import (
    CircularRationalQuadratic,
    LinearSpline,
    QuadraticSpline,
    RationalQuadratic,
    SoftClippedSpline,
)
from flowkit.transforms.transform import Solved, StraightTails, Transform
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

# Keras then finds these classes in files.
for _name in __all__:
    keras.saving.register_keras_serializable("flowkit")(globals()[_name])
