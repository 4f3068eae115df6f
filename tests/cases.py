"""Flowkit's bijectors by name, in all their options: what the contract checker is run on.

`ESSENTIAL` are those of which an engine may make something else than another; `FURTHER` are all the rest.
"""

import functools

from flowkit import bijectors as fb
from flowkit.conditioners import (
    MADE,
    MLP,
    AngularMADE,
    AngularMLP,
    CausalConvNet,
    CausalTransformer,
    ConvNet,
    Field,
    GatedAttention,
    LipschitzMLP,
    PlacePrior,
    ResidualMADE,
    ScaledConv,
    SplitPrior,
    TopPrior,
    UNet,
    ViT,
)
from flowkit.testing import Case
from flowkit.transforms import (
    Affine,
    Bernstein,
    ByColumn,
    CircularRationalQuadratic,
    Gaussian,
    LinearSpline,
    MixtureOfLogistics,
    QuadraticSpline,
    RationalQuadratic,
    ScaleShift,
    SigmoidMixture,
    SoftClippedSpline,
    SumOfSquares,
    UnconstrainedMonotone,
)

VECTOR, IMAGE, SMALL = ((3,),), ((2, 3, 4),), ((4, 4, 2),)


def labels(rng, batch, event):
    return rng.integers(0, 3, batch).astype("int32")


def maps(rng, batch, event):
    return rng.normal(size=(batch, *event[:-1], 2)).astype("float32")


def sequences(rng, batch, event):
    return rng.normal(size=(batch, 2, 3)).astype("float32")


def coupling(network=lambda: MLP([6]), **options):
    return lambda: fb.Coupling(network(), **options)


# Seen on all three engines: two whole scales of couplings, perturbed, undone at latents that no
# data gave. The published scale sigmoid(s + 2) has no bound below, and the priors' exp(logs) none above: their
# inverse runs past float32. (With bounds on both, `min_scale`, nothing is waived.)
OVERFLOWS = {"finite": "the inverse of sigmoid(s + 2) and of the priors is unbounded"}
# By the weights that an engine draws: where inverse(z) is about 1e14 and the Jacobian's condition 1e17, no digit
# of z comes back, and the few moves that measure how much may be lost can all land where a prior's scale is 0.
BEYOND_DOUBLE = {"inverse round trip": "inverse(z) may be so large that no digit of z comes back"}


def glow_step(**options):
    return [fb.ActNorm(), fb.Conv1x1(seed=1), fb.Coupling(ConvNet(4), **options)]


def split_prior():
    return ScaledConv(zeros=True)


def multiscale(scales=2, top=None, prior=None, steps=True, layout="interleaved", bound=0.0):
    def make():
        transform = Affine(min_scale=bound)
        parts = [
            fb.Chain([fb.Squeeze(), *(glow_step(transform=transform) if steps else [])])
            for _ in range(scales)
        ]
        priors = [prior() for _ in range(scales - 1)] if prior else None
        return fb.MultiScale(
            parts, priors=priors, top_prior=top and top(), prior_layout=layout, min_scale=bound
        )

    return make


POINTWISE = [
    Case(name, make, VECTOR)
    for name, make in {
        "Exp": fb.Exp,
        "Softplus": fb.Softplus,
        "Sigmoid": fb.Sigmoid,
        "Logit": fb.Logit,
        "Tanh": fb.Tanh,
        "Inverse(Exp)": lambda: fb.Inverse(fb.Exp()),
        "Inverse(Softplus)": lambda: fb.Inverse(fb.Softplus()),
        "Inverse(Tanh)": lambda: fb.Inverse(fb.Tanh()),
        "Inverse(Logit)": lambda: fb.Inverse(fb.Logit()),
        "Equalize": lambda: fb.Equalize(4),
        "Unconstrain": lambda: fb.Unconstrain(["real", "positive", (0, 1)]),
        "Unconstrain(half-lines)": lambda: fb.Unconstrain([(2, None), (None, 3), (-5, 7.5)]),
        "Unconstrain(circles)": lambda: fb.Unconstrain(["circular", "positive", ("circular", 0, 24)]),
        "SoftBounds": lambda: fb.SoftBounds([(-6, 6), (-5.5, 9), (-7, 7)], softness=0.1),
        "Inverse(Unconstrain)": lambda: fb.Inverse(fb.Unconstrain(["real", "positive", (0, 1)])),
    }.items()
]

AFFINE = [
    Case("Shift", fb.Shift, IMAGE),
    Case("Shift(given)", lambda: fb.Shift([1.0, -2.0, 0.5]), VECTOR),
    Case("Scale", fb.Scale, IMAGE),
    Case("Scale(given)", lambda: fb.Scale(-1.5), VECTOR),
    Case("ActNorm", fb.ActNorm, (*VECTOR, *IMAGE)),
    Case("ActNorm(factor=1)", lambda: fb.ActNorm(factor=1.0), VECTOR),
    Case("BatchNorm", fb.BatchNorm, (*VECTOR, *IMAGE)),
    Case("Inverse(ActNorm)", lambda: fb.Inverse(fb.ActNorm()), VECTOR),
    Case("Standardize", fb.Standardize, (*VECTOR, *IMAGE)),
    Case("Inverse(Standardize)", lambda: fb.Inverse(fb.Standardize()), VECTOR),
]

MIXING = [
    Case("Conv1x1(lu)", lambda: fb.Conv1x1(seed=3), ((1,), (3,), (2, 3, 4))),
    Case("Conv1x1(plain)", lambda: fb.Conv1x1(lu=False, seed=3), ((3,), (2, 3, 4))),
    Case("Inverse(Conv1x1)", lambda: fb.Inverse(fb.Conv1x1(seed=3)), VECTOR),
    Case("Permute(reverse)", fb.Permute, ((1,), (2, 3, 5))),
    Case("Permute(shuffle)", lambda: fb.Permute("shuffle"), ((5,),)),
    Case("Permute(list)", lambda: fb.Permute([2, 0, 3, 1]), IMAGE),
    Case("Squeeze", fb.Squeeze, ((2, 4, 1), (2, 2, 3))),
    Case("Squeeze(3)", lambda: fb.Squeeze(3), ((3, 6, 2),)),
    Case("Squeeze(1)", lambda: fb.Squeeze(1), ((2, 1, 2),)),
    Case("Reshape", lambda: fb.Reshape((2, 6)), ((3, 4), (2, 3, 2))),
    Case("Reshape(source)", lambda: fb.Reshape((4,), source=(2, 2)), ((2, 2),)),
    Case("Flatten", fb.Flatten, ((2, 3, 2),)),
    Case("Inverse(Flatten)", lambda: fb.Inverse(fb.Flatten(source=(2, 3))), ((6,),)),
    Case("Inverse(Squeeze)", lambda: fb.Inverse(fb.Squeeze()), ((1, 2, 4),)),
]

CONVOLUTIONS = [
    Case("EmergingConv", lambda: fb.EmergingConv(seed=3), ((2, 3, 2),)),
    Case("EmergingConv(5)", lambda: fb.EmergingConv(5, seed=3), ((3, 4, 1),)),
    Case("PeriodicConv", lambda: fb.PeriodicConv(seed=3), ((2, 3, 2),)),
    Case("PeriodicConv(5)", lambda: fb.PeriodicConv(5, seed=3), ((2, 6, 1),)),
    Case(
        "Repeat(convolutions)",
        lambda: fb.Repeat(fb.Chain([fb.EmergingConv(), fb.PeriodicConv()]), 2),
        ((1, 2, 2),),
    ),
    Case("Haar", fb.Haar, ((2, 4, 1), (2, 2, 3))),
]

LINEAR = [
    Case(
        f"{name}(random, bias)" if options else name,
        lambda layer=layer, options=options: layer(seed=3, **options),
        events,
    )
    for name, layer, events in (
        ("LULinear", fb.LULinear, ((1,), (3,), (2, 3, 4))),
        ("QRLinear", fb.QRLinear, ((1,), (3,), (2, 3, 4))),
        ("SVDLinear", fb.SVDLinear, ((1,), (3,), (2, 3, 4))),
        ("MatrixExponential", fb.MatrixExponential, ((1,), (3,), (2, 3, 4))),
        ("CayleyRotation", fb.CayleyRotation, ((1,), (3,), (2, 3, 4))),
        ("HouseholderRotation", fb.HouseholderRotation, ((1,), (3,), (2, 3, 4))),
        ("Woodbury", functools.partial(fb.Woodbury, 2), ((2,), (3,), (2, 3, 4))),
    )
    for options in ({}, {"init": "random", "bias": True})
]

LINEAR_GAUSSIAN = [
    Case("LinearGaussian", fb.LinearGaussian, ((1,), (3,))),
    Case("LinearGaussian(context)", lambda: fb.LinearGaussian(context="required"), VECTOR, (2,)),
    Case("NormalScores", lambda: fb.NormalScores(4), ((1,), (3,))),
    Case("Repeat(NormalScores)", lambda: fb.Repeat(fb.NormalScores(4), 2), VECTOR),
    Case("Inverse(LinearGaussian)", lambda: fb.Inverse(fb.LinearGaussian()), VECTOR),
    Case("Repeat(LinearGaussian)", lambda: fb.Repeat(fb.LinearGaussian(context="required"), 2), VECTOR, (2,)),
]

BENT = [
    Case("Planar", lambda: fb.Planar(seed=0), ((1,), (3,))),
    Case("Planar(context)", lambda: fb.Planar(MLP([6]), seed=0), VECTOR),
    Case("Inverse(Planar)", lambda: fb.Inverse(fb.Planar(seed=0)), VECTOR),
    Case("Radial", lambda: fb.Radial(seed=0), ((1,), (3,))),
    Case("Radial(context)", lambda: fb.Radial(MLP([6]), seed=0), VECTOR),
    Case("BlockAutoregressive", lambda: fb.BlockAutoregressive(2), ((1,), (3,))),
    Case(
        "BlockAutoregressive(context)",
        lambda: fb.BlockAutoregressive(2, depth=2, conditioner=MLP([6])),
        ((2,),),
    ),
    Case("Sylvester", lambda: fb.Sylvester(seed=0), ((1,), (3,))),
    Case("Sylvester(context)", lambda: fb.Sylvester(MLP([6]), units=2, seed=0), VECTOR),
]

# Of constant memory, and of the right mean: not the derivative of the value that a given noise has.
NEUMANN = {"log-det gradient": "the gradient of an estimate is an estimate of its own, by a Neumann series"}

RESIDUAL = [
    Case("Residual", lambda: fb.Residual(LipschitzMLP([6], lipschitz=0.5)), ((1,), (3,))),
    Case(
        "Residual(context)",
        lambda: fb.Residual(LipschitzMLP([6], lipschitz=0.5, activation="sin", context="required")),
        ((2,),),
    ),
    Case(
        "Residual(hutchinson)",
        lambda: fb.Residual(LipschitzMLP([6], lipschitz=0.5), trace="hutchinson"),
        ((2,),),
        tolerated=NEUMANN,
    ),
    Case(
        "Residual(roulette)",
        lambda: fb.Residual(LipschitzMLP([6], lipschitz=0.5), trace="roulette"),
        ((2,),),
        tolerated=NEUMANN,
    ),
]

# Few steps: what they leave is measured, with twice as many.
CONTINUOUS = [
    Case("Continuous", lambda: fb.Continuous(Field([6]), "midpoint", steps=6), ((2,),)),
    Case(
        "Continuous(rademacher)",
        lambda: fb.Continuous(Field([6], squash=True), "midpoint", steps=8, trace="rademacher"),
        ((2,),),
    ),
    Case("Continuous(stored)", lambda: fb.Continuous(Field([6]), steps=2, backprop="stored"), ((1,), (3,))),
    Case(
        "Continuous(dopri5)",
        lambda: fb.Continuous(Field([6]), "dopri5", rtol=1e-5, atol=1e-5, max_steps=60),
        ((2,),),
    ),
    Case(
        "Continuous(gaussian, context)",
        lambda: fb.Continuous(Field([6], context="optional"), steps=2, trace="gaussian", guidance=0.5),
        ((2,),),
    ),
    Case(
        "Continuous(UNet)",
        lambda: fb.Continuous(UNet([2, 4], groups=2), "midpoint", steps=2, trace="rademacher"),
        ((2, 2, 1),),
    ),
    Case("Repeat(Continuous)", lambda: fb.Repeat(fb.Continuous(Field([6]), "euler", steps=8), 2), ((2,),)),
]

COUPLINGS = [
    Case("Coupling(additive)", coupling(transform="additive"), VECTOR),
    Case("Coupling(affine)", coupling(), ((2,), (5,))),
    Case("Coupling(tanh)", coupling(transform=Affine("tanh")), VECTOR),
    Case("Coupling(min_scale)", coupling(transform=Affine(min_scale=0.25)), VECTOR),
    Case("Coupling(swap)", coupling(swap=True), VECTOR),
    Case("Coupling(interleaved)", coupling(layout="interleaved"), VECTOR),
    Case("Coupling(scale-shift)", coupling(transform=Affine(order="scale-shift")), VECTOR),
    Case("Coupling(additive swap)", coupling(transform="additive", swap=True), VECTOR),
    Case("Coupling(checkerboard)", coupling(split="checkerboard"), ((4,), (2, 3, 1))),
    Case(
        "Coupling(checkerboard swap)",
        coupling(split="checkerboard", swap=True, transform=Affine("tanh")),
        ((2, 3, 2),),
    ),
    Case(
        "Coupling(checkerboard min_scale)",
        coupling(split="checkerboard", transform=Affine(min_scale=0.25)),
        ((2, 3, 1),),
    ),
    Case("Coupling(checkerboard additive)", coupling(split="checkerboard", transform="additive"), VECTOR),
    Case("Coupling(ConvNet)", coupling(lambda: ConvNet(4)), ((2, 3, 3),)),
    Case("Coupling(ConvNet plain edge)", coupling(lambda: ConvNet(4, edge_bias=False)), ((2, 3, 2),)),
    Case("Inverse(Coupling)", lambda: fb.Inverse(coupling()()), VECTOR),
    Case("Coupling(spline)", coupling(transform=RationalQuadratic(4)), VECTOR),
    Case("Coupling(alternating)", coupling(split="alternating"), ((5,), (2, 2))),
    Case("Coupling(mask)", coupling(split=[[True, False], [False, True]], swap=True), ((2, 2),)),
    Case("GIN", lambda: fb.GIN(MLP([6])), ((2,), (5,))),
    Case("GIN(image)", lambda: fb.GIN(ConvNet(4), swap=True), ((2, 2, 3),)),
    Case("Coupling(mixture)", coupling(transform=SigmoidMixture(2)), ((2,),)),
]

ONE_BY_ONE = [
    Case("Autoregressive", lambda: fb.Autoregressive(MADE([6])), ((1,), (4,))),
    Case("Autoregressive(blocks)", lambda: fb.Autoregressive(ResidualMADE(6, blocks=1)), VECTOR),
    Case("Autoregressive(spline)", lambda: fb.Autoregressive(MADE([6]), RationalQuadratic(3)), VECTOR),
    Case("Autoregressive(mixture)", lambda: fb.Autoregressive(MADE([6]), SigmoidMixture(2)), ((2,),)),
    Case(
        "Autoregressive(context)",
        lambda: fb.Autoregressive(MADE([6], context="required"), order="reversed"),
        VECTOR,
    ),
    Case(
        "Inverse(Autoregressive)", lambda: fb.Inverse(fb.Autoregressive(MADE([6]), order=[1, 2, 0])), VECTOR
    ),
    Case("Pointwise", lambda: fb.Pointwise(Affine("tanh")), ((3,), (2, 2, 1))),
    Case("Pointwise(spline)", lambda: fb.Pointwise(RationalQuadratic(4)), ((3,), (2, 2))),
    Case("Pointwise(mixture)", lambda: fb.Pointwise(SigmoidMixture(2)), ((2,),)),
    Case("Pointwise(Gaussian)", lambda: fb.Pointwise(Gaussian(min_scale=0.1)), ((2,),)),
    Case("Pointwise(softclip)", lambda: fb.Pointwise(ScaleShift()), ((2,),)),
    Case("Pointwise(softplus)", lambda: fb.Pointwise(ScaleShift("softplus", least=0.1)), ((2,),)),
    Case("Pointwise(soft-clipped spline)", lambda: fb.Pointwise(SoftClippedSpline(3)), ((2,),)),
    Case("Pointwise(context)", lambda: fb.Pointwise("affine", MLP([6])), ((1,), (2,))),
]


def by_places(order=None, jacobi=False, **options):
    """An autoregressive layer of an image, place by place."""
    network = lambda: CausalTransformer(4, depth=1, heads=2, **options)  # noqa: E731
    return lambda: fb.Autoregressive(network(), Gaussian(min_scale=0.1), order=order, jacobi=jacobi)


def by_window():
    """An autoregressive layer of an image, of which each place reads a window."""
    network = CausalConvNet(4, columns=2, depth=1, reach=1)
    return fb.Autoregressive(network, Gaussian(min_scale=0.1))


def of_patches(splits, seed=0, **options):
    network = lambda: ViT(4, depth=1, heads=2, **options)  # noqa: E731
    return lambda: fb.PatchCoupling(network(), splits=splits, seed=seed)


PATCHES = [
    Case("PatchCoupling(channels)", of_patches(["channels"]), ((1, 3, 2),)),
    Case("PatchCoupling(vstripes-inv)", of_patches(["vstripes-inv"]), ((1, 2, 2),)),
    Case(
        "PatchCoupling(labels)",
        of_patches(["checkerboard"], context="optional", num_classes=3),
        ((2, 1, 2),),
        labels,
    ),
    Case("Repeat(PatchCoupling)", lambda: fb.Repeat(of_patches(["channels", "hstripes"])(), 2), ((2, 1, 2),)),
    Case("Autoregressive(places)", by_places(), ((1, 3, 2),)),
    Case(
        "Autoregressive(places, reversed)",
        by_places("reversed", context="optional", num_classes=3),
        ((2, 2, 1),),
        labels,
    ),
    Case("Autoregressive(window)", by_window, ((2, 2, 1),)),
    Case("Autoregressive(places, sequence)", by_places(context="required"), ((1, 3, 2),), sequences),
    Case("Autoregressive(places, jacobi)", by_places(jacobi=True), ((3, 2),)),
]


def beside_an_angle():
    """A column on the circle between two that are real."""
    spline = RationalQuadratic(3)
    return ByColumn([spline, CircularRationalQuadratic(3), spline])


BY_COLUMN = [
    Case(
        "Coupling(by column)",
        lambda: fb.Coupling(AngularMLP([6], angles=[1]), beside_an_angle(), split=[False, True, True]),
        VECTOR,
    ),
    Case(
        "Coupling(by column, swap)",
        lambda: fb.Coupling(
            AngularMLP([6], angles=[1]), beside_an_angle(), split=[False, True, True], swap=True
        ),
        VECTOR,
    ),
    Case(
        "Autoregressive(by column)",
        lambda: fb.Autoregressive(AngularMADE([6], angles=[0]), beside_an_angle(), order=[1, 2, 0]),
        VECTOR,
    ),
    Case("Pointwise(by column)", lambda: fb.Pointwise(beside_an_angle()), VECTOR),
    Case(
        "OnColumns",
        lambda: fb.OnColumns(fb.LULinear(bias=True), [True, False, True], others="circular"),
        VECTOR,
    ),
    Case(
        "OnColumns(context)",
        lambda: fb.OnColumns(fb.Pointwise("affine", MLP([6])), [False, True, False]),
        VECTOR,
    ),
    Case(
        "OnColumns(channels)",
        lambda: fb.OnColumns(fb.Conv1x1(lu=False, init="identity"), [True, False, True]),
        ((2, 2, 3),),
    ),
    Case("OnColumns(adapts)", lambda: fb.OnColumns(fb.ActNorm(), [False, True, True]), VECTOR),
]

CONTEXTS = [
    Case("Coupling(optional)", coupling(lambda: MLP([6], context="optional")), VECTOR),
    Case("Coupling(required)", coupling(lambda: MLP([6], context="required")), VECTOR),
    Case("Coupling(labels)", coupling(lambda: MLP([6], context="required", num_classes=3)), VECTOR, labels),
    Case("Coupling(image, vector)", coupling(lambda: ConvNet(4, context="required")), ((2, 3, 2),)),
    Case(
        "Coupling(image, labels)",
        coupling(lambda: ConvNet(4, context="optional", num_classes=3)),
        ((2, 2, 2),),
        labels,
    ),
    Case("Coupling(image, map)", coupling(lambda: ConvNet(4, context="required")), ((2, 3, 2),), maps),
    Case(
        "Coupling(gated attention)",
        coupling(lambda: GatedAttention(4, blocks=1, heads=2, dropout=0.5, context="optional")),
        ((2, 2, 2),),
        maps,
    ),
    Case(
        "Coupling(gated attention, labels)",
        coupling(lambda: GatedAttention(4, blocks=1, heads=2, context="optional", num_classes=3)),
        ((2, 2, 2),),
        labels,
    ),
    Case(
        "Chain(conditional)",
        lambda: fb.Chain([fb.ActNorm(), coupling(lambda: MLP([6], context="required"))()]),
        VECTOR,
    ),
    Case(
        "Inverse(conditional)", lambda: fb.Inverse(coupling(lambda: MLP([6], context="required"))()), VECTOR
    ),
]

COMPOSED = [
    Case("Chain(empty)", lambda: fb.Chain([]), VECTOR),
    Case("Chain(pointwise)", lambda: fb.Chain([fb.Shift(0.5), fb.Scale(-1.0), fb.Softplus()]), VECTOR),
    Case(
        "Chain(couplings)",
        lambda: fb.Chain([coupling()(), fb.Permute(), coupling(transform=Affine("tanh"))()]),
        VECTOR,
    ),
    Case("Chain(glow step)", lambda: fb.Chain(glow_step()), ((2, 3, 2),)),
    Case(
        "Chain(reversible)",
        lambda: fb.Chain(
            [fb.ActNorm(), fb.Conv1x1(seed=1), coupling(lambda: MLP([6], context="required"))()],
            backprop="reversible",
        ),
        VECTOR,
    ),
    Case("Repeat(glow step)", lambda: fb.Repeat(fb.Chain(glow_step()), 2), ((2, 3, 2),)),
    Case(
        "Repeat(reversible)",
        lambda: fb.Repeat(coupling(lambda: MLP([6], context="required"))(), 2, backprop="reversible"),
        VECTOR,
    ),
    Case("Inverse(Repeat)", lambda: fb.Inverse(fb.Repeat(fb.Autoregressive(MADE([6])), 2)), VECTOR),
    Case("Inverse(Chain)", lambda: fb.Inverse(fb.Chain([fb.Scale(0.5), fb.Exp()])), VECTOR),
    Case("MultiScale(bare)", multiscale(steps=False), SMALL),
    Case("MultiScale(priors)", multiscale(steps=False, prior=split_prior), SMALL),
    Case("MultiScale(contiguous)", multiscale(steps=False, prior=split_prior, layout="contiguous"), SMALL),
    Case("MultiScale(top prior)", multiscale(steps=False, top=TopPrior), SMALL),
    Case(
        "MultiScale(class priors)",
        multiscale(steps=False, prior=lambda: SplitPrior(3), top=lambda: TopPrior(num_classes=3)),
        SMALL,
        labels,
    ),
    Case(
        "MultiScale(place priors)",
        lambda: fb.MultiScale(
            [fb.Squeeze(), fb.Squeeze()],
            priors=[PlacePrior(num_classes=3)],
            top_prior=PlacePrior(),
            prior_layout="contiguous",
        ),
        SMALL,
        labels,
    ),
    Case(
        "MultiScale(glow)",
        multiscale(prior=split_prior, top=TopPrior),
        SMALL,
        waived=OVERFLOWS,
        tolerated=BEYOND_DOUBLE,
    ),
    Case("MultiScale(min_scale)", multiscale(prior=split_prior, bound=0.25), SMALL),
]

# An odd number of bins: points that are drawn first lie in the middle, where an even one has a knot and a jump.
TRANSFORMS = {
    "affine tails": lambda: RationalQuadratic(3, tails="affine"),
    "circular spline": lambda: CircularRationalQuadratic(3),
    "quadratic spline": lambda: QuadraticSpline(3),
    "quadratic affine tails": lambda: QuadraticSpline(3, tails="affine"),
    "linear spline": lambda: LinearSpline(3),
    "linear spline with tails": lambda: LinearSpline(3, bound=2.0),
    "Bernstein": lambda: Bernstein(5),
    "sum of squares": lambda: SumOfSquares(2, 2),
    "logistics": lambda: MixtureOfLogistics(2),
    "unconstrained monotone": lambda: UnconstrainedMonotone(2, nodes=5),
}
ARRANGEMENTS = {
    "Coupling": lambda transform: fb.Coupling(MLP([6]), transform),
    "Autoregressive": lambda transform: fb.Autoregressive(MADE([6]), transform),
    "Pointwise": fb.Pointwise,
}


def arranged(arrangement, transform):
    return lambda: ARRANGEMENTS[arrangement](TRANSFORMS[transform]())


ARRANGED = [
    Case(f"{arrangement}({transform})", arranged(arrangement, transform), ((2,),))
    for transform in TRANSFORMS
    for arrangement in ARRANGEMENTS
]

ALL = [
    *POINTWISE,
    *AFFINE,
    *MIXING,
    *CONVOLUTIONS,
    *LINEAR,
    *LINEAR_GAUSSIAN,
    *BENT,
    *RESIDUAL,
    *CONTINUOUS,
    *COUPLINGS,
    *ONE_BY_ONE,
    *PATCHES,
    *ARRANGED,
    *BY_COLUMN,
    *CONTEXTS,
    *COMPOSED,
]

assert len({case.name for case in ALL}) == len(ALL), "names of cases must differ"

# What these can find is in plain Python, or in what another case computes by the engine: one engine finds it.
ONE_ENGINE = {
    # An inverse asks its layer the other way round, whatever the layer.
    *(case.name for case in ALL if case.name.startswith("Inverse(") and case.name != "Inverse(Exp)"),
    # Which entries go where, and what is done to them is a neighbour's.
    *(
        "Permute(shuffle)",
        "Permute(list)",
        "Squeeze(3)",
        "Squeeze(1)",
        "Reshape(source)",
        "ActNorm(factor=1)",
        *(
            "Coupling(gated attention)",
            "Coupling(gated attention, labels)",
            "Haar",
            "GIN",
            "GIN(image)",
            "EmergingConv(5)",
            "PeriodicConv(5)",
            "Repeat(convolutions)",
        ),
    ),
    *("Coupling(swap)", "Coupling(interleaved)", "Coupling(additive swap)", "Coupling(mask)"),
    *("Coupling(checkerboard swap)", "Coupling(checkerboard additive)", "MultiScale(contiguous)"),
    # Two lines of arithmetic, which the transforms' own tests ask of each engine.
    *(
        "Coupling(min_scale)",
        "Coupling(scale-shift)",
        "Coupling(checkerboard min_scale)",
        "MultiScale(min_scale)",
    ),
    # The same map with less in it than another: no bias, no context, no steps. (All weights are moved off their start.)
    *(case.name for case in LINEAR if "random" not in case.name),
    "LinearGaussian",
    *("Coupling(required)", "Coupling(image, vector)", "Coupling(ConvNet plain edge)", "Chain(conditional)"),
    *("Chain(empty)", "Chain(pointwise)", "MultiScale(bare)", "MultiScale(priors)", "MultiScale(top prior)"),
    # A network that hears a context, in front of a map that has been asked: each layer's own tests do that too.
    *("Planar(context)", "Radial(context)", "Residual(context)", "Autoregressive(context)"),
    # The network and the gathering of halves are those of another case.
    *("PatchCoupling(channels)", "PatchCoupling(labels)", "Repeat(PatchCoupling)"),
    *("Autoregressive(places, reversed)", "Autoregressive(places, jacobi)"),
    # The solvers' arithmetic is asked of each engine by a linear field, in their own tests.
    *(case.name for case in CONTINUOUS[2:]),
    # Each transform is asked of each engine in a coupling; how a layer feeds it is Python.
    *("Pointwise(spline)", "Pointwise(mixture)"),
    *(case.name for case in ARRANGED if not case.name.startswith("Coupling(")),
    *("Coupling(by column, swap)", "Pointwise(by column)", "OnColumns(context)", "OnColumns(adapts)"),
    "OnColumns(channels)",
}
assert {case.name for case in ALL} >= ONE_ENGINE, "a name that is no case's"

ESSENTIAL = [case for case in ALL if case.name not in ONE_ENGINE]
FURTHER = [case for case in ALL if case.name in ONE_ENGINE]
