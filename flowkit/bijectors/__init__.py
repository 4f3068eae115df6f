"""Invertible maps. Each promises an exact inverse and an exact log-determinant; one idea to a file."""

import keras

from flowkit.bijectors.affine import ActNorm, BatchNorm, Scale, Shift, Standardize
from flowkit.bijectors.autoregressive import Autoregressive
from flowkit.bijectors.block_autoregressive import BlockAutoregressive
from flowkit.bijectors.chain import Chain
from flowkit.bijectors.continuous import Continuous
from flowkit.bijectors.conv1x1 import Conv1x1
from flowkit.bijectors.convolutions import EmergingConv, PeriodicConv
from flowkit.bijectors.coupling import GIN, Coupling
from flowkit.bijectors.elementwise import Elementwise, Exp, Logit, Sigmoid, Softplus, Tanh
from flowkit.bijectors.equalize import Equalize
from flowkit.bijectors.inverse import Inverse
from flowkit.bijectors.linear import LULinear, MatrixExponential
from flowkit.bijectors.linear_gaussian import LinearGaussian
from flowkit.bijectors.multiscale import MultiScale
from flowkit.bijectors.normal_scores import NormalScores
from flowkit.bijectors.on_columns import OnColumns
from flowkit.bijectors.patch_coupling import PatchCoupling
from flowkit.bijectors.planar import Planar, Radial, Sylvester
from flowkit.bijectors.pointwise import Pointwise
from flowkit.bijectors.rearrange import Flatten, Haar, Permute, Reshape, Squeeze
from flowkit.bijectors.repeat import Repeat
from flowkit.bijectors.residual import Residual
from flowkit.bijectors.rotations import CayleyRotation, HouseholderRotation, QRLinear, SVDLinear, Woodbury
from flowkit.bijectors.unconstrain import SoftBounds, Unconstrain

__all__ = [
    "GIN",
    "ActNorm",
    "Autoregressive",
    "BatchNorm",
    "BlockAutoregressive",
    "CayleyRotation",
    "Chain",
    "Continuous",
    "Conv1x1",
    "Coupling",
    "Elementwise",
    "EmergingConv",
    "Equalize",
    "Exp",
    "Flatten",
    "Haar",
    "HouseholderRotation",
    "Inverse",
    "LULinear",
    "LinearGaussian",
    "Logit",
    "MatrixExponential",
    "MultiScale",
    "NormalScores",
    "OnColumns",
    "PatchCoupling",
    "PeriodicConv",
    "Permute",
    "Planar",
    "Pointwise",
    "QRLinear",
    "Radial",
    "Repeat",
    "Reshape",
    "Residual",
    "SVDLinear",
    "Scale",
    "Shift",
    "Sigmoid",
    "SoftBounds",
    "Softplus",
    "Squeeze",
    "Standardize",
    "Sylvester",
    "Tanh",
    "Unconstrain",
    "Woodbury",
]

# Keras then finds these classes in files.
for _name in __all__:
    keras.saving.register_keras_serializable("flowkit")(globals()[_name])
