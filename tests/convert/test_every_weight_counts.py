"""State dicts with one fault each: no weight is left aside in silence, and the fault is named."""

import re

import numpy as np
import pytest
from test_rosinality import random_state

from flowkit.convert import from_nflows, from_rosinality, from_zuko

torch = pytest.importorskip("torch")


def zuko_dict(kind, context=0, **options):
    flows = pytest.importorskip("zuko").flows
    model = getattr(flows, kind)(3, context, transforms=2, hidden_features=(6, 7), **options)
    return model.state_dict()


def nflows_dict(*names):
    transforms, nets = pytest.importorskip("nflows.transforms"), pytest.importorskip("nflows.nn.nets")
    from nflows.distributions import StandardNormal
    from nflows.flows import Flow

    def network(inputs, outputs):
        return nets.ResidualNet(inputs, outputs, hidden_features=6, context_features=2, num_blocks=1)

    mask, spline = torch.tensor([0, 1, 0]), {"num_bins": 4, "tails": "linear"}
    kinds = {
        "coupling": lambda: transforms.PiecewiseRationalQuadraticCouplingTransform(
            mask, network, apply_unconditional_transform=True, **spline
        ),
        "lu": lambda: transforms.LULinear(3),
        "qr": lambda: transforms.QRLinear(3, num_householder=2),
        "svd": lambda: transforms.SVDLinear(3, num_householder=2),
        "permutation": lambda: transforms.ReversePermutation(3),
        "masked": lambda: transforms.MaskedAffineAutoregressiveTransform(3, hidden_features=5, num_blocks=1),
        "sigmoid": transforms.Sigmoid,
    }
    parts = [kinds[name]() for name in names]
    return Flow(transforms.CompositeTransform(parts), StandardNormal([3])).state_dict()


def nflows(variables):
    return from_nflows(variables, bound=3.0, bins=4)


def splines_of_zuko(variables):
    return from_zuko(variables, bound=5.0)


CASES = {
    "MAF": (lambda: zuko_dict("MAF", 2), from_zuko),
    "RealNVP": (lambda: zuko_dict("RealNVP", 2), from_zuko),
    "NSF": (lambda: zuko_dict("NSF", bins=4), splines_of_zuko),
    "couplings and matrices": (lambda: nflows_dict("coupling", "lu", "qr", "svd", "coupling"), nflows),
    "masked networks": (lambda: nflows_dict("masked", "permutation", "masked"), nflows),
    "Glow of rosinality": (lambda: random_state(steps=1), from_rosinality),
}


def faults(name, array):
    """(what is wrong, the array in place of it): None if there is to be none."""
    # What masks say is said again by degrees, and how many reflections there are is free.
    if not name.endswith(".degrees"):
        yield "missing", None
    for axis in range(array.ndim):
        if not (name.endswith("q_vectors") and axis == 0):
            yield f"longer along axis {axis}", np.concatenate([array, array.take([0], axis)], axis)
    yield "one more axis", array[None]
    yield "text", np.full(array.shape, "a")
    if array.dtype.kind == "f":
        yield "NaN", np.full_like(array, np.nan)


@pytest.mark.parametrize("case", CASES)
def test_a_wrong_weight_is_refused_and_its_layer_named(case):
    make, convert = CASES[case]
    whole = {name: np.asarray(value) for name, value in make().items() if name != "_distribution._log_z"}
    convert(whole)
    for name, array in whole.items():
        for fault, value in faults(name, array):
            changed = {key: other for key, other in whole.items() if key != name}
            with pytest.raises(ValueError, match="expected") as caught:
                convert(changed if value is None else {**changed, name: value})
            # A length that two weights disagree on may be said of another one, of context and base of another layer.
            place = "" if fault.startswith("longer") else ".".join(name.split(".")[:3])
            assert place in str(caught.value), (name, fault)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("more", ["scale", "{}.foo", "{}.0.foo", "{}.x.bias", "base.foo"])
def test_a_weight_too_many_is_refused_by_name(case, more):
    make, convert = CASES[case]
    name = more.format("_transform._transforms" if convert is nflows else "transform.transforms")
    with pytest.raises(ValueError, match=re.escape(name)):
        convert({**make(), name: torch.zeros(3)})


def test_what_stands_between_layers_without_weights_is_refused():
    with pytest.raises(ValueError, match=r"^_transform._transforms.1: got no weights, expected some"):
        nflows(nflows_dict("lu", "sigmoid", "lu"))
    with pytest.raises(ValueError, match=r"^transform.transforms.1: got no weights, expected some"):
        splines_of_zuko(zuko_dict("SOSPF", degree=4, polynomials=2))


def test_the_base_is_the_standard_normal_by_whatever_names():
    """zuko's own flows name it otherwise than flows that are put together of its transforms."""
    flows = pytest.importorskip("zuko").flows
    from zuko.distributions import DiagNormal
    from zuko.lazy import UnconditionalDistribution

    def model(mean):
        base = UnconditionalDistribution(DiagNormal, torch.full((3,), mean), torch.ones(3), buffer=True)
        return flows.Flow([flows.MaskedAutoregressiveTransform(3, hidden_features=(6,))], base)

    of_zeros, x = model(0.0), np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    with torch.no_grad():
        expected = of_zeros().log_prob(torch.tensor(x)).numpy()
    np.testing.assert_allclose(from_zuko(of_zeros.state_dict()).log_prob(x), expected, rtol=1e-4)
    with pytest.raises(ValueError, match=r"^base._0: got another mean .*, expected the standard normal"):
        from_zuko(model(1.0).state_dict())
    with pytest.raises(ValueError, match=r"^base.loc: got another mean .*, expected the standard normal"):
        from_zuko({**zuko_dict("MAF"), "base.loc": torch.ones(3)})


def test_networks_whose_weights_do_not_tell_what_they_compute_are_refused():
    with pytest.raises(ValueError, match=r"hyper.0: got a linear map, expected a network with hidden layers"):
        from_zuko(pytest.importorskip("zuko").flows.MAF(3, hidden_features=()).state_dict())
    made = nflows_dict("masked")
    without = {name: value for name, value in made.items() if ".blocks." not in name}
    with pytest.raises(ValueError, match=r"^_transform._transforms.0.*: got a network of no blocks"):
        nflows(without)


def test_a_model_in_place_of_its_weights_is_told_so():
    for convert in (from_zuko, from_nflows):
        with pytest.raises(TypeError, match=r"got a Linear, expected .* such as model.state_dict\(\)"):
            convert(torch.nn.Linear(2, 2))
