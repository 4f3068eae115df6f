"""Parts that flowkit shares with nflows, normflows and FlowJAX: with the same weights they are the same maps."""

import numpy as np
import pytest
from arrays import array, tensor

from flowkit.bijectors import Coupling, LULinear
from flowkit.bijectors.linear import raw_scale
from flowkit.conditioners import MLP
from flowkit.engines import engine
from flowkit.transforms import RationalQuadratic
from flowkit.transforms.splines import spline

pytestmark = pytest.mark.two_engines

ALIKE = {"rtol": 1e-9, "atol": 1e-9}
RNG = np.random.default_rng(0)
X = 2.5 * RNG.normal(size=(60, 6))  # some of them beyond the splines


@pytest.fixture(autouse=True)
def in_float64():
    with engine.float64():
        yield


def as_theirs(x):
    return pytest.importorskip("torch").tensor(x, dtype=pytest.importorskip("torch").float64)


@pytest.mark.parametrize(
    "module", ["nflows.transforms.splines.rational_quadratic", "normflows.utils.splines"]
)
@pytest.mark.parametrize("inverse", [False, True])
def test_a_rational_quadratic_spline(module, inverse):
    theirs = pytest.importorskip(module).unconstrained_rational_quadratic_spline
    ours = RationalQuadratic(5, bound=3.0)
    h = 2 * RNG.normal(size=(60, 14, 6))
    # Raw slopes of 0 are the slope 1 here, and 0.694 there.
    slope = h[:, 10:] + np.log(np.expm1(1 - 1e-3))
    raw = [np.moveaxis(part, 1, 2) for part in (h[:, :5], h[:, 5:10], slope)]
    y, log_slope = theirs(as_theirs(X), *map(as_theirs, raw), inverse=inverse, tails="linear", tail_bound=3.0)
    own, own_log_slope = ours.run(tensor(X, "float64"), ours.prepare(tensor(h, "float64")), inverse)
    np.testing.assert_allclose(array(own), y.numpy(), **ALIKE)
    np.testing.assert_allclose(array(own_log_slope), log_slope.numpy(), **ALIKE)


def test_a_spline_with_the_knots_of_flowjax():
    """Its slopes at the ends are learned, and no tails go on from them; so inside alone."""
    jax = pytest.importorskip("jax")
    bijections = pytest.importorskip("flowjax.bijections")
    paramax = pytest.importorskip("paramax")
    with jax.enable_x64():
        made = bijections.RationalQuadraticSpline(knots=4, interval=3.0)
        made = jax.tree.map(
            lambda a: (
                jax.numpy.asarray(a + RNG.normal(size=a.shape), "float64") if hasattr(a, "shape") else a
            ),
            made,
        )
        theirs = paramax.unwrap(made)
        at = np.linspace(-2.99, 2.99, 40)
        expected = [np.array(part) for part in jax.vmap(theirs.transform_and_log_det)(jax.numpy.asarray(at))]
        x, y, slopes = (np.array(a)[None, :, None] for a in (theirs.x_pos, theirs.y_pos, theirs.derivatives))
    knots = [tensor(a, "float64") for a in (x, y, slopes)]
    found = spline(tensor(at[:, None], "float64"), *knots)
    for ours, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(array(ours)[:, 0], other, **ALIKE)


def test_a_matrix_of_triangles():
    """Theirs is y = L U x for columns, ours z = x P L U for rows: their transposed matrix, factored anew."""
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip("nflows.transforms").LULinear(6, identity_init=False).double()
    ours = LULinear(bias=True)
    ours.build((None, 6))
    with torch.no_grad():
        theirs.bias += as_theirs(RNG.normal(size=6))
        lower, upper = (part.numpy() for part in theirs._create_lower_upper())
        y, log_det = (part.numpy() for part in theirs.forward_no_cache(as_theirs(X)))
    # (L U)^T = U^T L^T = (U^T D^-1) (D L^T), D the diagonal of U.
    diagonal = np.diag(upper)
    ours.lower.assign(upper.T / diagonal)
    ours.upper.assign(diagonal[:, None] * lower.T)
    ours.raw.assign(raw_scale(diagonal))
    ours.bias.assign(theirs.bias.detach().numpy())
    z, own_log_det = ours(X)
    np.testing.assert_allclose(array(z), y, **ALIKE)
    np.testing.assert_allclose(array(own_log_det), log_det, **ALIKE)
    np.testing.assert_allclose(array(ours.inverse(z)[0]), X, **ALIKE)


@pytest.mark.parametrize("inverse", [False, True])
def test_a_spline_coupling(inverse):
    torch = pytest.importorskip("torch")
    transforms = pytest.importorskip("nflows.transforms")
    layers = torch.nn.Linear(3, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3 * 11)

    class Network(torch.nn.Sequential):
        def forward(self, x, context=None):
            return super().forward(x)

    network = Network(*layers).double()
    theirs = transforms.PiecewiseRationalQuadraticCouplingTransform(
        [0, 0, 0, 1, 1, 1],  # the first half is kept, as here
        lambda *_: network,
        num_bins=4,
        tails="linear",
        tail_bound=3.0,
    )
    ours = Coupling(MLP([8]), RationalQuadratic(4, bound=3.0), layout="interleaved")
    ours.build((None, 6))
    first, _, last = layers
    weights = [first.weight.T, first.bias, last.weight.T, last.bias]
    values = [weight.detach().numpy().copy() for weight in weights]
    values[3].reshape(3, 11)[:, 8:] -= np.log(np.expm1(1 - 1e-3))
    for own, value in zip(ours.conditioner.trainable_weights, values, strict=True):
        assert tuple(own.shape) == value.shape
        own.assign(value)
    with torch.no_grad():
        given = as_theirs(X)
        y, log_det = (theirs.inverse if inverse else theirs.forward)(given)
    z, own_log_det = ours(X, inverse=inverse)
    np.testing.assert_allclose(array(z), y.numpy(), **ALIKE)
    np.testing.assert_allclose(array(own_log_det), log_det.numpy(), **ALIKE)
