"""TensorFlow Probability on JAX: the bijectors that it exports, with random parameters."""

import jax.numpy as jnp
import jax.random as jr
from peers.recipe import Recipe, classes
from tensorflow_probability.substrates.jax import bijectors as b
from tensorflow_probability.substrates.jax import tf2jax as tf

from flowkit.contract import Domain

NAME, ENGINE, PACKAGE = "tensorflow_probability (JAX)", "jax", "tfp-nightly"

POSITIVE, UNIT, BALL, SIMPLEX = Domain.POSITIVE, Domain.UNIT_INTERVAL, Domain.interval(-1, 1), Domain.SIMPLEX


def num(value):
    """A parameter in the precision of the moment: a plain float would be float32."""
    return jnp.asarray(value, float)


def normal(seed, *shape):
    return jr.normal(jr.key(seed), shape, float)


def triangle(n):
    return jnp.tril(normal(1, n, n)) + 3 * jnp.eye(n)


def autoregression(n):
    """Shift and log-scale of each entry from those before it."""
    weight = jnp.tril(normal(1, n, n), -1)

    def parameters(x):
        h = jnp.tanh(x @ weight.T.astype(x.dtype))
        return jnp.stack([h, 0.5 * h], axis=-1)

    return parameters


def coupling(n):
    kept = n // 2
    weight = normal(2, kept, n - kept)

    def parameters(x, units, **kwargs):
        h = jnp.tanh(x @ weight.astype(x.dtype))
        return h, 0.5 * h

    return b.RealNVP(num_masked=kept, shift_and_log_scale_fn=parameters)


def lu(n):
    """Of a matrix, packed, and a permutation."""
    return normal(4, n, n) + 3 * jnp.eye(n), jnp.arange(n)[::-1]


def spline(n):
    def bins(seed):
        raw = jnp.exp(normal(seed, n, 5))
        return 6 * raw / raw.sum(-1, keepdims=True)

    return b.RationalQuadraticSpline(bins(1), bins(2), jnp.exp(normal(3, n, 4)), range_min=num(-3.0))


def square(n):
    return (n, n)


MATRICES = "maps between matrices of subsets that flowkit's Domain does not describe"
LISTS = "maps lists of tensors"

RECIPES = {
    "Ascending": Recipe(lambda n: b.Ascending()),
    "Blockwise": Recipe(
        lambda n: b.Blockwise([b.Tanh(), b.Shift(num(0.3))], block_sizes=[1, n - 1]), sizes=(3, 2)
    ),
    "Chain": Recipe(
        lambda n: b.Chain([b.Softplus(), b.Shift(normal(1, n)), b.Scale(normal(2, n))]), codomain=POSITIVE
    ),
    "Cumsum": Recipe(lambda n: b.Cumsum()),
    "Exp": Recipe(lambda n: b.Exp(), codomain=POSITIVE),
    "Expm1": Recipe(lambda n: b.Expm1(), codomain=Domain(low=-1.0)),
    # Nearer to the edge of their domains these CDFs underflow to 0.
    "FrechetCDF": Recipe(
        lambda n: b.FrechetCDF(num(0.5), num(1.5), num(2.0)), domain=Domain(low=1.0), codomain=UNIT
    ),
    "GeneralizedExtremeValueCDF": Recipe(
        lambda n: b.GeneralizedExtremeValueCDF(num(0.0), num(1.0), num(0.5)),
        domain=Domain(low=-1.5),
        codomain=UNIT,
    ),
    "GeneralizedExtremeValueCDF(concentration=0)": Recipe(
        lambda n: b.GeneralizedExtremeValueCDF(num(0.0), num(1.0), num(0.0)), codomain=UNIT
    ),
    "GeneralizedPareto": Recipe(
        lambda n: b.GeneralizedPareto(num(0.0), num(1.0), num(0.5)), codomain=POSITIVE
    ),
    "GeneralizedPareto(negative concentration)": Recipe(
        lambda n: b.GeneralizedPareto(num(0.0), num(1.0), num(-0.5)), codomain=Domain.interval(0, 2)
    ),
    "GompertzCDF": Recipe(lambda n: b.GompertzCDF(num(0.7), num(1.2)), domain=POSITIVE, codomain=UNIT),
    "GumbelCDF": Recipe(lambda n: b.GumbelCDF(num(0.3), num(1.4)), codomain=UNIT),
    "Householder": Recipe(lambda n: b.Householder(normal(1, n) / jnp.linalg.norm(normal(1, n)))),
    "Identity": Recipe(lambda n: b.Identity()),
    "Inline": Recipe(
        lambda n: b.Inline(
            forward_fn=jnp.sinh,
            inverse_fn=jnp.arcsinh,
            inverse_log_det_jacobian_fn=lambda y: -jnp.log1p(y * y) / 2,
            forward_min_event_ndims=0,
        )
    ),
    "Invert": Recipe(lambda n: b.Invert(b.Softplus()), domain=POSITIVE),
    "IteratedSigmoidCentered": Recipe(lambda n: b.IteratedSigmoidCentered(), codomain=SIMPLEX),
    "KumaraswamyCDF": Recipe(lambda n: b.KumaraswamyCDF(num(0.7), num(1.8)), domain=UNIT, codomain=UNIT),
    "LambertWTail": Recipe(lambda n: b.LambertWTail(num(0.3), num(1.2), num(0.1))),
    "Log": Recipe(lambda n: b.Log(), domain=POSITIVE),
    "Log1p": Recipe(lambda n: b.Log1p(), domain=Domain(low=-1.0)),
    "MaskedAutoregressiveFlow": Recipe(lambda n: b.MaskedAutoregressiveFlow(autoregression(n))),
    "MatvecLU": Recipe(lambda n: b.MatvecLU(*lu(n))),
    "MoyalCDF": Recipe(lambda n: b.MoyalCDF(num(0.3), num(1.4)), codomain=UNIT),
    "NormalCDF": Recipe(lambda n: b.NormalCDF(), codomain=UNIT),
    "Permute": Recipe(lambda n: b.Permute(jnp.roll(jnp.arange(n), 1))),
    "Power": Recipe(lambda n: b.Power(num(2.5)), domain=POSITIVE, codomain=POSITIVE),
    "Power(odd)": Recipe(lambda n: b.Power(3)),
    "PowerTransform": Recipe(lambda n: b.PowerTransform(0.5), domain=Domain(low=-2.0), codomain=POSITIVE),
    "PowerTransform(power=0)": Recipe(lambda n: b.PowerTransform(0.0), codomain=POSITIVE),
    "RationalQuadraticSpline": Recipe(spline),
    "RayleighCDF": Recipe(lambda n: b.RayleighCDF(num(1.3)), domain=POSITIVE, codomain=UNIT),
    "RealNVP": Recipe(coupling, sizes=(3, 2)),
    "Reciprocal": Recipe(lambda n: b.Reciprocal(), domain=POSITIVE, codomain=POSITIVE),
    "Reshape": Recipe(lambda n: b.Reshape([2 * n], [n, 2]), event=lambda n: (n, 2)),
    "Scale": Recipe(lambda n: b.Scale(normal(1, n))),
    "Scale(log_scale)": Recipe(lambda n: b.Scale(log_scale=normal(1, n))),
    "ScaleMatvecDiag": Recipe(lambda n: b.ScaleMatvecDiag(normal(1, n))),
    "ScaleMatvecLU": Recipe(lambda n: b.ScaleMatvecLU(*lu(n))),
    "ScaleMatvecLinearOperator": Recipe(
        lambda n: b.ScaleMatvecLinearOperator(tf.linalg.LinearOperatorLowerTriangular(triangle(n)))
    ),
    "ScaleMatvecTriL": Recipe(lambda n: b.ScaleMatvecTriL(triangle(n))),
    "ScaleMatvecTriL(adjoint)": Recipe(lambda n: b.ScaleMatvecTriL(triangle(n), adjoint=True)),
    "Shift": Recipe(lambda n: b.Shift(normal(1, n))),
    "ShiftedGompertzCDF": Recipe(
        lambda n: b.ShiftedGompertzCDF(num(0.7), num(1.2)), domain=POSITIVE, codomain=UNIT
    ),
    "Sigmoid": Recipe(lambda n: b.Sigmoid(), codomain=UNIT),
    "Sigmoid(low, high)": Recipe(lambda n: b.Sigmoid(num(-2.0), num(3.0)), codomain=Domain.interval(-2, 3)),
    "Sinh": Recipe(lambda n: b.Sinh()),
    "SinhArcsinh": Recipe(lambda n: b.SinhArcsinh(num(0.3), num(1.4))),
    "SoftClip": Recipe(lambda n: b.SoftClip(num(-2.0), num(3.0), num(0.7)), codomain=Domain.interval(-2, 3)),
    "SoftClip(low)": Recipe(
        lambda n: b.SoftClip(low=num(-2.0), hinge_softness=num(0.7)), codomain=Domain(low=-2.0)
    ),
    "Softfloor": Recipe(lambda n: b.Softfloor(num(0.4))),
    "SoftmaxCentered": Recipe(lambda n: b.SoftmaxCentered(), codomain=SIMPLEX),
    "Softplus": Recipe(lambda n: b.Softplus(), codomain=POSITIVE),
    "Softplus(hinge_softness, low)": Recipe(
        lambda n: b.Softplus(hinge_softness=num(0.6), low=num(-1.0)), codomain=Domain(low=-1.0)
    ),
    "Softsign": Recipe(lambda n: b.Softsign(), codomain=BALL),
    "Square": Recipe(lambda n: b.Square(), domain=POSITIVE, codomain=POSITIVE),
    "Tanh": Recipe(lambda n: b.Tanh(), codomain=BALL),
    "TransformDiagonal": Recipe(lambda n: b.TransformDiagonal(b.Scale(num(-2.0))), event=square),
    "Transpose": Recipe(lambda n: b.Transpose(perm=[1, 0]), event=lambda n: (n, 2)),
    "WeibullCDF": Recipe(lambda n: b.WeibullCDF(num(1.3), num(0.8)), domain=POSITIVE, codomain=UNIT),
}
NO_RECIPE = {
    "AbsoluteValue": "not invertible, as it says",
    "AutoCompositeTensorBijector": "an abstract base",
    "CholeskyOuterProduct": MATRICES,
    "CholeskyToInvCholesky": MATRICES,
    "Composition": "the abstract base of Chain and others",
    "CorrelationCholesky": MATRICES,
    "FFJORD": "its solver's log-det is an approximation to a tolerance of the solver that is given",
    "FillScaleTriL": MATRICES,
    "FillTriangular": MATRICES,
    "JointMap": LISTS,
    "MatrixInverseTriL": MATRICES,
    "Pad": "adds constants: injective, not onto",
    "Restructure": LISTS,
    "ScaleMatvecLinearOperatorBlock": LISTS,
    "Split": LISTS,
    "UnitVector": "maps onto a sphere, which flowkit's Domain does not describe",
}


def exports():
    return classes(b, b.Bijector)
