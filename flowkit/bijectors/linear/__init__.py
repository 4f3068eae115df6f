"""Invertible matrices across the channels; one way of parametrising them to a file."""

from flowkit.bijectors.linear.cayley import CayleyRotation
from flowkit.bijectors.linear.exponential import MatrixExponential
from flowkit.bijectors.linear.householder import HouseholderRotation
from flowkit.bijectors.linear.lu import LULinear
from flowkit.bijectors.linear.qr import QRLinear
from flowkit.bijectors.linear.svd import SVDLinear
from flowkit.bijectors.linear.woodbury import Woodbury

__all__ = [
    "CayleyRotation",
    "HouseholderRotation",
    "LULinear",
    "MatrixExponential",
    "QRLinear",
    "SVDLinear",
    "Woodbury",
]
