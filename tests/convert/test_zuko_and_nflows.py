"""Flows of nflows and zuko, against the packages themselves."""

import numpy as np
import pytest
from arrays import array

from flowkit.convert import from_nflows, from_zuko
from flowkit.engines import engine

torch = pytest.importorskip("torch")
ALIKE = {"rtol": 1e-9, "atol": 1e-9}


@pytest.fixture(autouse=True)
def in_float64():
    with engine.float64():
        yield


def trained(model):
    """A model in float64, with weights as if trained."""
    torch.manual_seed(0)
    model = model.double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return model


def agree(flow, encode, score, decode, size, context=None):
    """Latents, densities, and data of latents are those of the package; data reach beyond the splines."""
    rng = np.random.default_rng(0)
    x = 2 * rng.normal(size=(40, size))
    given = {} if context is None else {"context": rng.normal(size=(40, context))}
    with torch.no_grad():
        c = [torch.tensor(value) for value in given.values()]
        expected = [f(torch.tensor(x), *c).numpy() for f in (encode, score, decode)]
    np.testing.assert_allclose(array(flow.bijector(x, **given)[0]), expected[0], **ALIKE)
    np.testing.assert_allclose(flow.log_prob(x, **given), expected[1], **ALIKE)
    np.testing.assert_allclose(array(flow.bijector.inverse(x, **given)[0]), expected[2], **ALIKE)


@pytest.mark.parametrize(
    ("kind", "context", "options"),
    [
        ("MAF", 0, {"randperm": True, "hidden_features": (9, 16, 8)}),
        ("MAF", 2, {"transforms": 2}),
        ("NICE", 0, {"transforms": 2, "hidden_features": (9, 7)}),
        ("RealNVP", 2, {"transforms": 2, "hidden_features": (9,)}),
        ("NSF", 2, {"bins": 4, "hidden_features": (12,), "transforms": 2}),
    ],
)
def test_zuko(kind, context, options):
    zuko = pytest.importorskip("zuko")
    model = trained(getattr(zuko.flows, kind)(5, context, **options))

    def transform(c):
        return model(*c).transform

    agree(
        from_zuko(model.state_dict(), bound=5.0 if kind == "NSF" else None),
        lambda x, *c: transform(c)(x),
        lambda x, *c: model(*c).log_prob(x),
        lambda z, *c: transform(c).inv(z),
        5,
        context or None,
    )


@pytest.mark.parametrize("package", ["zuko", "nflows"])
def test_a_wrong_activation_is_found_by_log_densities(package):
    if package == "zuko":
        model = trained(pytest.importorskip("zuko").flows.MAF(5, 0, transforms=2))
        convert, given = from_zuko, {}
    else:
        model = nflows_model()
        convert, given = from_nflows, {"bound": 3.0, "bins": 4}
    x = np.random.default_rng(0).normal(size=(20, 5))
    with torch.no_grad():
        score = model().log_prob(torch.tensor(x)) if package == "zuko" else model.log_prob(torch.tensor(x))
    check = {"rows": x, "log_prob": score}
    convert(model.state_dict(), check=check, **given)
    with pytest.raises(
        ValueError,
        match=r"got other log-densities in \d+ of 20 rows, .*; the largest difference is .* nats in row",
    ):
        convert(model.state_dict(), check=check, activation="elu", **given)
    with pytest.raises(ValueError, match="got no log_prob"):
        convert(model.state_dict(), check={"rows": x}, **given)


def nflows_model(size=5, **options):
    transforms = pytest.importorskip("nflows.transforms")
    from nflows.distributions import StandardNormal
    from nflows.flows import Flow

    torch.manual_seed(0)  # of random masks, which may leave out an entry that is due if they are narrow
    options = {"use_residual_blocks": False, "num_blocks": 2, "hidden_features": 33} | options
    spline = {"num_bins": 4, "tails": "linear", "tail_bound": 3.0}
    parts = [
        transforms.MaskedAffineAutoregressiveTransform(size, **options),
        transforms.ReversePermutation(size),
        transforms.MaskedPiecewiseRationalQuadraticAutoregressiveTransform(size, **options, **spline),
        transforms.RandomPermutation(size),
    ]
    return trained(Flow(transforms.CompositeTransform(parts), StandardNormal([size])))


@pytest.mark.parametrize(
    ("size", "options"),
    [
        (5, {}),
        (5, {"random_mask": True}),
        (5, {"use_residual_blocks": True}),
        (1, {"use_residual_blocks": True, "hidden_features": 4}),
        (5, {"use_residual_blocks": True, "num_blocks": 3, "hidden_features": 5, "activation": torch.tanh}),
    ],
)
def test_nflows(size, options):
    model = nflows_model(size, **options)
    activation = "tanh" if "activation" in options else "relu"
    agree(
        from_nflows(model.state_dict(), bound=3.0, bins=4, activation=activation),
        lambda x: model._transform(x)[0],
        model.log_prob,
        lambda z: model._transform.inverse(z)[0],
        size,
    )


def nflows_of(*parts):
    from nflows.distributions import StandardNormal
    from nflows.flows import Flow
    from nflows.transforms import CompositeTransform

    return trained(Flow(CompositeTransform(list(parts)), StandardNormal([5])))


def residual(context=None, **options):
    nets = pytest.importorskip("nflows.nn.nets")
    torch.manual_seed(0)

    def make(inputs, outputs):
        return nets.ResidualNet(inputs, outputs, hidden_features=12, context_features=context, **options)

    return make


def agree_with_nflows(model, context=None):
    agree(
        from_nflows(model.state_dict(), bound=3.0, bins=4),
        lambda x, *c: model._transform(x, *c)[0],
        model.log_prob,
        lambda z, *c: model._transform.inverse(z, *c)[0],
        5,
        context,
    )


@pytest.mark.parametrize("context", [None, 2])
@pytest.mark.parametrize("kind", ["Affine", "Additive", "PiecewiseRationalQuadratic"])
def test_couplings_of_nflows(kind, context):
    transforms = pytest.importorskip("nflows.transforms")
    coupling = getattr(transforms, f"{kind}CouplingTransform")
    spline = {"num_bins": 4, "tails": "linear", "tail_bound": 3.0} if "Piecewise" in kind else {}
    masks = ([0, 1, 0, 1, 1], [1, 0, 1, 0, 0])
    parts = [coupling(torch.tensor(mask), residual(context), **spline) for mask in masks]
    agree_with_nflows(nflows_of(*parts), context)


@pytest.mark.parametrize(
    "make",
    [
        lambda transforms: transforms.LULinear(5, identity_init=False),
        lambda transforms: transforms.QRLinear(5, num_householder=3),
        lambda transforms: transforms.SVDLinear(5, num_householder=4, identity_init=False),
    ],
    ids=["LU", "QR", "SVD"],
)
def test_matrices_of_nflows(make):
    transforms = pytest.importorskip("nflows.transforms")
    torch.manual_seed(0)
    model = nflows_of(make(transforms))
    if hasattr(torch, "triangular_solve"):
        agree_with_nflows(model)
        return
    flow = from_nflows(model.state_dict())  # its own inverses call what torch no longer has
    x = np.random.default_rng(0).normal(size=(20, 5))
    with torch.no_grad():
        z, score = model._transform(torch.tensor(x))[0].numpy(), model.log_prob(torch.tensor(x)).numpy()
    np.testing.assert_allclose(array(flow.bijector(x)[0]), z, **ALIKE)
    np.testing.assert_allclose(flow.log_prob(x), score, **ALIKE)
    np.testing.assert_allclose(array(flow.bijector.inverse(z)[0]), x, **ALIKE)


@pytest.mark.parametrize("context", [None, 2])
def test_the_arrangement_of_neural_spline_flows(context):
    """Permutation and matrix, then a coupling with splines of what it keeps, twice; and one more matrix."""
    transforms = pytest.importorskip("nflows.transforms")
    torch.manual_seed(0)

    def mixed():
        return transforms.CompositeTransform([transforms.RandomPermutation(5), transforms.LULinear(5)])

    parts = []
    for mask in ([0, 1, 0, 1, 0], [1, 0, 1, 0, 1]):
        spline = {"num_bins": 4, "tails": "linear", "tail_bound": 3.0, "apply_unconditional_transform": True}
        coupling = transforms.PiecewiseRationalQuadraticCouplingTransform
        parts.append(
            transforms.CompositeTransform(
                [mixed(), coupling(torch.tensor(mask), residual(context), **spline)]
            )
        )
    agree_with_nflows(nflows_of(*parts, mixed()), context)


@pytest.mark.parametrize(
    ("kind", "bins", "tails"),
    # 6 quadratic and 8 linear bins have the numbers of 4 and 3 rational-quadratic ones.
    [
        *(
            ("Quadratic", 6, "linear"),
            ("Linear", 8, "linear"),
            ("Cubic", 5, None),
            ("masked Quadratic", 6, None),
        ),
    ],
)
def test_a_spline_of_another_kind_is_not_taken_for_a_rational_quadratic_one(kind, bins, tails):
    transforms = pytest.importorskip("nflows.transforms")
    kind, masked = kind.rpartition(" ")[2], kind.startswith("masked")
    if masked:
        made = getattr(transforms, f"MaskedPiecewise{kind}AutoregressiveTransform")
        given = {"num_bins": bins, "features": 5, "hidden_features": 33, "use_residual_blocks": False}
    else:
        made = getattr(transforms, f"Piecewise{kind}CouplingTransform")
        given = {"mask": torch.tensor([0, 1, 0, 1, 0]), "transform_net_create_fn": residual()}
        given |= {"num_bins": bins, "tails": tails, "tail_bound": 3.0}
    model = nflows_of(made(**given))
    with pytest.raises(
        ValueError, match=r"^_transform._transforms.0: got .*, expected rational-quadratic splines"
    ):
        from_nflows(model.state_dict(), bound=3.0, bins=bins)


def test_splines_of_what_a_coupling_keeps_have_the_same_bins():
    transforms = pytest.importorskip("nflows.transforms")
    spline = {"num_bins": 4, "tails": "linear", "tail_bound": 3.0, "apply_unconditional_transform": True}
    mask = torch.tensor([0, 1, 0, 1, 0])
    weights = nflows_of(
        transforms.PiecewiseRationalQuadraticCouplingTransform(mask, residual(), **spline)
    ).state_dict()
    name = "_transform._transforms.0.unconditional_transform"
    for kind, bins in (("widths", 3), ("heights", 3), ("derivatives", 2)):
        weights[f"{name}.unnormalized_{kind}"] = torch.zeros(3, bins)
    with pytest.raises(
        ValueError, match=f"^{name}: got 8 parameters for each entry, expected .* 11 parameters"
    ):
        from_nflows(weights, bound=3.0, bins=4)


def test_what_cannot_be_expressed_is_named():
    transforms = pytest.importorskip("nflows.transforms")
    mask, spline = torch.tensor([0, 1, 0, 1, 0]), {"num_bins": 4, "tails": "linear", "tail_bound": 3.0}
    normed = transforms.AffineCouplingTransform(mask, residual(use_batch_norm=True))
    splines = transforms.PiecewiseRationalQuadraticCouplingTransform(mask, residual(), **spline)
    empty = transforms.AffineCouplingTransform(mask, residual(num_blocks=0))
    for part, given, message in (
        (normed, {}, r"batch_norm_layers.* is not part of this model"),
        (splines, {}, r"^_transform._transforms.0: got 11 .*, expected .*bound="),
        (splines, {"bound": 3.0}, r"^_transform._transforms.0: got .*bins=, their num_bins, .* do not tell"),
        (splines, {"bound": 3.0, "bins": 3}, "bins: got 3, expected a whole number from 4 up"),
        (empty, {}, "got a network of no blocks, expected one with blocks"),
    ):
        with pytest.raises(ValueError, match=message):
            from_nflows(nflows_of(part).state_dict(), **given)
    for option, layer in (("use_batch_norm", "batch_norm"), ("context_features", "context_layer")):
        model = nflows_model(use_residual_blocks=True, **{option: 2})
        with pytest.raises(ValueError, match=f"{layer}.* is not part of this model"):
            from_nflows(model.state_dict(), bound=3.0, bins=4)
    zuko = pytest.importorskip("zuko")
    with pytest.raises(ValueError, match=r"0\.order: got .*, expected a permutation, as without `passes`"):
        from_zuko(zuko.flows.MAF(4, passes=2).state_dict())
    with pytest.raises(ValueError, match=r"^transform.transforms.0.hyper.\d.weight: got no array"):
        from_zuko(zuko.flows.MAF(4, residual=True).state_dict())
    with pytest.raises(ValueError, match=r"got 5 parameters for each entry, expected 2 .*pass bound=5.0"):
        from_zuko(zuko.flows.NSF(4, bins=2).state_dict())
    with pytest.raises(ValueError, match="got 16 parameters for each entry, expected 3 K - 1 for K bins"):
        from_zuko(zuko.flows.BPF(4, degree=15).state_dict(), bound=5.0)
    with pytest.raises(ValueError, match=r"^transform.transforms.1: got no weights, expected some"):
        from_zuko(zuko.flows.NAF(4, signal=11).state_dict(), bound=5.0)  # as many numbers as 4 bins have
    with pytest.raises(
        ValueError, match=r"got 11 parameters for each entry, expected 1 or 2.*pass bound=, their tail_bound"
    ):
        from_nflows(nflows_model().state_dict())


def test_a_masked_network_that_hears_the_wrong_entries_is_refused():
    order = {"transform.transforms.0.order": np.arange(2)}
    layers = {0: (np.ones((3, 2)), np.ones((3, 2))), 2: (np.ones((4, 3)), np.ones((4, 3)))}
    for place, (weight, mask) in layers.items():
        name = f"transform.transforms.0.hyper.{place}"
        order |= {f"{name}.weight": weight, f"{name}.mask": mask, f"{name}.bias": np.zeros(len(weight))}
    with pytest.raises(ValueError, match="expected each entry to read those before, as in a MADE"):
        from_zuko(order)
