"""Other libraries' bijectors in the contract: torch.distributions wherever torch is, the others where installed."""

import flowkit  # noqa: F401  (chooses the engine)

# isort: split
import numpy as np
import pytest

from flowkit.contract import ContractError, Domain
from flowkit.engines import engine
from flowkit.testing import adapt, check_bijector
from flowkit.testing.adapters import NOT_APPLICABLE, arrays, copied

on_torch = pytest.mark.skipif(engine.name != "torch", reason="torch.distributions is torch's")
CLAUSES = ["round trip", "inverse round trip", "log-det", "inverse log-det", "batch independence"]


def transforms():
    return pytest.importorskip("torch.distributions.transforms")


def check(adapted, clauses=CLAUSES, **options):
    return check_bijector(adapted, clauses=clauses, examples=6, **options)


@on_torch
@pytest.mark.parametrize(
    ("make", "options"),
    [
        (lambda t: t.ComposeTransform([t.AffineTransform(0.5, -2.0), t.ExpTransform()]), {}),
        (lambda t: t.IndependentTransform(t.ExpTransform(), 1).inv, {}),
        (lambda t: t.ComposeTransform([t.ExpTransform(), t.ExpTransform().inv]).inv, {}),
        (lambda t: t.ReshapeTransform((2, 2), (4,)), {"event_shape": (2, 2)}),
    ],
    ids=["composed", "inverse of independent", "inverse of inverse", "reshape"],
)
def test_right_ones_keep_what_applies_to_them(make, options):
    assert check(adapt(make(transforms()), **{"event_shape": (2,), **options}))


@on_torch
def test_domains_and_shapes_are_read_from_transforms():
    t = transforms()
    assert adapt(t.SigmoidTransform().inv).spec.domain == Domain.UNIT_INTERVAL
    assert adapt(t.IndependentTransform(t.TanhTransform(), 1)).spec.codomain == Domain.interval(-1, 1)
    assert adapt(t.ExpTransform(), domain=Domain.POSITIVE).spec.domain == Domain.POSITIVE
    stick = adapt(t.StickBreakingTransform(), event_shape=(2,))
    assert stick.spec.codomain == Domain.SIMPLEX
    assert stick.compute_output_shape((None, 2)) == (None, 3)
    assert check_bijector(stick, clauses=["log-det"], examples=1)  # one ordinary example
    with pytest.raises(ContractError, match=r"\(2,\)"):
        stick(np.zeros((2, 4), "float32"))


@on_torch
def test_wrong_ones_are_found():
    t = transforms()

    class Forgetful(t.AffineTransform):
        def log_abs_det_jacobian(self, x, y):
            return 0 * x

    class Bent(t.TanhTransform):
        def _inverse(self, y):
            return super()._inverse(y) * (1 + 1e-9)  # float64 sees it, float32 would not

    class Centred(t.AffineTransform):
        def _call(self, x):
            return x - x.mean(0) / 2

    wrong = {"log-det": Forgetful(0.0, 3.0), "round trip": Bent(), "batch independence": Centred(0.0, 1.0)}
    for clause, made in wrong.items():
        with pytest.raises(ContractError) as caught:
            check(adapt(made, event_shape=(2,)), clauses=[clause])
        assert caught.value.clause == clause
        if clause == "log-det":
            assert caught.value.measured == pytest.approx(2 * np.log(3))


@on_torch
def test_clauses_about_keras_are_not_applicable():
    report = check_bijector(adapt(transforms().TanhTransform()), examples=3, raises=False)
    for clause in NOT_APPLICABLE:
        assert report[clause].verdict == "not asked"
        assert "not applicable" in report[clause].reason
    assert {"round trip", "log-det", "purity"} <= {r.clause for r in report.results if r.verdict == "kept"}


@on_torch
def test_copies_are_of_another_precision_and_share_nothing():
    import torch

    t = transforms()
    results = torch.ones(2, requires_grad=True) * 3  # what deepcopy refuses: neither leaf nor constant
    given = t.ComposeTransform([t.AffineTransform(results, torch.ones(2)), t.TanhTransform()])
    new = copied(given, "float64")
    assert {a.dtype for a in arrays(new)} == {torch.float64}
    assert {a.dtype for a in arrays(given)} == {torch.float32}
    arrays(new)[0].zero_()
    assert all((a != 0).all() for a in arrays(given))


@on_torch
def test_copies_of_modules_keep_tied_weights_tied_and_trainable_ones_trainable():
    import torch

    module = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    module[1].weight = module[0].weight
    module[1].bias.requires_grad_(False)
    new = copied(module, "float64")
    assert new[0].weight is new[1].weight
    assert new[0].weight.requires_grad
    assert not new[1].bias.requires_grad
    assert new(torch.ones(1, 2, dtype=torch.float64)).dtype == torch.float64


@on_torch
def test_numbers_computed_in_float32_are_judged_as_such():
    import torch

    t = transforms()
    single = adapt(t.AffineTransform(torch.tensor(0.1), torch.tensor(0.3)))
    assert (single.precision, adapt(t.TanhTransform()).precision) == ("float32", "float64")


def test_an_object_of_no_known_library_is_refused_by_name():
    with pytest.raises(TypeError, match=r"adapt: got builtins\.dict, expected .*flowjax"):
        adapt({})


@on_torch
@pytest.mark.parametrize("library", ["zuko", "nflows", "normflows"])
def test_modules_and_transforms_of_torch_libraries(library):
    """Each with weights of its own, in whichever way the library hands out its two directions."""
    module = pytest.importorskip(library)
    if library == "zuko":
        made = module.flows.NSF(2, transforms=1, hidden_features=(4,))().transform
    elif library == "nflows":
        from nflows.transforms import LULinear

        made = LULinear(2, identity_init=False)
    else:
        made = module.flows.AffineCouplingBlock(module.nets.MLP([1, 4, 2]))
    assert check(adapt(made, event_shape=(2,)))


@pytest.mark.skipif(engine.name != "jax", reason="these are JAX's")
@pytest.mark.parametrize("library", ["flowjax", "distrax", "tensorflow_probability"])
@pytest.mark.two_engines
def test_bijectors_of_jax_libraries(library):
    module = pytest.importorskip(library)
    if library == "flowjax":
        from flowjax.bijections import LeakyTanh

        made = LeakyTanh(3.0, (2,))
    elif library == "distrax":
        made = module.ScalarAffine(1.0, 2.0)
    else:
        from tensorflow_probability.substrates.jax import bijectors

        # A plain float of TFP's is float32.
        made = bijectors.Chain([bijectors.Softplus(), bijectors.Scale(2.0)])
    assert check(adapt(made, event_shape=(2,), codomain=Domain.POSITIVE if "prob" in library else None))
