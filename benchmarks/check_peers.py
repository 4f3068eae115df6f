"""Run flowkit's contract checker over the bijectors that other libraries export, and print what it finds.

    KERAS_BACKEND=torch python benchmarks/check_peers.py     # torch.distributions, zuko, nflows, normflows
    KERAS_BACKEND=jax python benchmarks/check_peers.py       # FlowJAX, distrax, TFP on JAX

Each library that is installed is checked, at its bijectors' own initial weights; the others are left out and named.
"""

import importlib
import warnings

import flowkit  # noqa: F401  (chooses the engine)

# isort: split
from flowkit import backends
from flowkit.testing import adapt, check_bijector

CLAUSES = [
    "round trip",
    "inverse round trip",
    "log-det",
    "inverse log-det",
    "batch independence",
    "log-det shape",
]


def torch_distributions():
    import torch
    import torch.distributions.transforms as t

    yield "ExpTransform", t.ExpTransform()
    yield "SigmoidTransform", t.SigmoidTransform()
    yield "TanhTransform", t.TanhTransform()
    yield "SoftplusTransform", t.SoftplusTransform()
    yield "AffineTransform", t.AffineTransform(1.0, -2.0)
    yield "PowerTransform", t.PowerTransform(torch.tensor(3.0))
    yield "ComposeTransform", t.ComposeTransform([t.AffineTransform(0.5, 2.0), t.ExpTransform()])


def zuko():
    import torch
    import zuko.transforms as t

    torch.manual_seed(0)
    yield "CosTransform", t.CosTransform()
    yield "SinTransform", t.SinTransform()
    yield "SoftclipTransform", t.SoftclipTransform()
    yield "CircularShiftTransform", t.CircularShiftTransform()
    yield "SignedPowerTransform", t.SignedPowerTransform(torch.tensor(0.3))
    yield "MonotonicAffineTransform", t.MonotonicAffineTransform(torch.randn(3), torch.randn(3))
    yield "MonotonicRQSTransform", t.MonotonicRQSTransform(*(torch.randn(3, k) for k in (8, 8, 7)))
    yield "PermutationTransform", t.PermutationTransform(torch.tensor([2, 0, 1]))
    yield "RotationTransform", t.RotationTransform(torch.randn(3, 3))
    yield "LULinearTransform", t.LULinearTransform(torch.randn(3, 3) + 2 * torch.eye(3))


def nflows():
    import nflows.transforms as t
    import torch

    torch.manual_seed(0)
    yield "PointwiseAffineTransform", t.PointwiseAffineTransform(0.5, 2.0)
    yield "LeakyReLU", t.LeakyReLU()
    yield "ReversePermutation", t.ReversePermutation(3)
    yield "LULinear", t.LULinear(3, identity_init=False)
    yield "QRLinear", t.QRLinear(3, num_householder=2)
    yield "SVDLinear", t.SVDLinear(3, num_householder=2)
    yield "HouseholderSequence", t.HouseholderSequence(3, 2)
    yield "NaiveLinear", t.NaiveLinear(3)
    yield "MaskedAffineAutoregressiveTransform", t.MaskedAffineAutoregressiveTransform(3, 8)
    yield "PiecewiseRQCDF", t.PiecewiseRationalQuadraticCDF((3,), tails="linear", tail_bound=3.0)


def normflows():
    import normflows.flows as t
    import torch
    from normflows.nets import MLP

    torch.manual_seed(0)
    yield "Planar", t.Planar((3,), act="leaky_relu")
    yield "AffineConstFlow", t.AffineConstFlow((3,))
    yield "MaskedAffineFlow", t.MaskedAffineFlow(torch.tensor([1.0, 0, 1.0]), MLP([3, 8, 3]), MLP([3, 8, 3]))
    yield "Permute", t.Permute(3)
    yield "InvertibleAffine", t.InvertibleAffine(3)
    yield "LULinearPermute", t.LULinearPermute(3)
    yield "CoupledRationalQuadraticSpline", t.CoupledRationalQuadraticSpline(3, 1, 8)
    yield "AutoregressiveRationalQuadraticSpline", t.AutoregressiveRationalQuadraticSpline(3, 1, 8)


def flowjax():
    import jax.numpy as jnp
    import jax.random as jr
    from flowjax import bijections as t

    yield "Affine", t.Affine(jnp.ones(3), 2 * jnp.ones(3))
    yield "LeakyTanh", t.LeakyTanh(3.0, (3,))
    yield "Flip", t.Flip((3,))
    yield "Permute", t.Permute(jnp.array([2, 0, 1]))
    yield "TriangularAffine", t.TriangularAffine(jnp.ones(3), jnp.eye(3) + jnp.tril(jnp.ones((3, 3))))
    yield "Planar", t.Planar(jr.key(0), dim=3)
    yield "SoftPlus", t.SoftPlus((3,))
    yield "RationalQuadraticSpline", t.Vmap(t.RationalQuadraticSpline(knots=5, interval=3), axis_size=3)


def distrax():
    import distrax as t
    import jax.numpy as jnp

    yield "Tanh", t.Block(t.Tanh(), 1)
    yield "Sigmoid", t.Block(t.Sigmoid(), 1)
    yield "ScalarAffine", t.Block(t.ScalarAffine(1.0, 2.0), 1)
    yield "DiagLinear", t.DiagLinear(jnp.array([1.0, 2.0, -0.5]))
    yield "TriangularLinear", t.TriangularLinear(jnp.eye(3) + jnp.ones((3, 3)))
    yield "UnconstrainedAffine", t.UnconstrainedAffine(jnp.eye(3) * 2 + 0.3, jnp.ones(3))
    yield "RationalQuadraticSpline", t.Block(t.RationalQuadraticSpline(jnp.ones((3, 16)), -3.0, 3.0), 1)


def tensorflow_probability():
    from tensorflow_probability.substrates.jax import bijectors as t

    for name in ("Exp", "Tanh", "Sigmoid", "Softplus", "Softsign", "SinhArcsinh", "GumbelCDF", "Expm1"):
        yield name, getattr(t, name)()


LIBRARIES = {
    "torch": {
        "torch.distributions": torch_distributions,
        "zuko": zuko,
        "nflows": nflows,
        "normflows": normflows,
    },
    "jax": {"flowjax": flowjax, "distrax": distrax, "tensorflow_probability": tensorflow_probability},
}


def main():
    warnings.filterwarnings("ignore")
    for library, bijectors in LIBRARIES[backends.name()].items():
        try:
            importlib.import_module(library)
            found = list(bijectors())
        except Exception as error:
            print(f"{library}: left out ({type(error).__name__}: {str(error)[:80]})")
            continue
        for name, obj in found:
            report = check_bijector(
                adapt(obj), event_shapes=[(3,)], examples=8, clauses=CLAUSES, raises=False
            )
            if report:
                print(f"{library}.{name}: all kept")
            for result in report.broken:
                print(f"{library}.{name}: {result.clause}: {result.reason[:160]} [{result.error.example}]")


if __name__ == "__main__":
    main()
