"""What a bijector is not made of, and not called with, gets an error that says what was expected, and what came."""

import keras
import numpy as np
import pytest
from keras import ops

from flowkit.bijectors import (
    ActNorm,
    Autoregressive,
    BlockAutoregressive,
    Chain,
    Continuous,
    Coupling,
    Exp,
    Flatten,
    HouseholderRotation,
    Inverse,
    LinearGaussian,
    Logit,
    MultiScale,
    NormalScores,
    OnColumns,
    Permute,
    Planar,
    Pointwise,
    Repeat,
    Reshape,
    Residual,
    Scale,
    Shift,
    Sigmoid,
    SoftBounds,
    Squeeze,
    Standardize,
    Sylvester,
    Unconstrain,
)
from flowkit.conditioners import MADE, MLP, AngularMADE, AngularMLP, ConvNet, Field, LipschitzMLP
from flowkit.contract import Bijector, Domain
from flowkit.surjections import Augment
from flowkit.transforms import Affine, ByColumn, CircularRationalQuadratic, RationalQuadratic, Transform

pytestmark = pytest.mark.one_engine

TWO_SCALES = (Chain([]), Squeeze())


class Log(Transform):
    parameters, domain = 1, Domain.POSITIVE


class Hookless(Bijector):
    pass


def ones(*shape):
    return np.ones(shape, "float32")


def built(layer, *event):
    layer.build((None, *event))
    return layer


def called(layer, *shape, **given):
    return lambda: layer(ones(*shape), **given)


def constrained():
    return keras.layers.Dense(4, kernel_constraint=keras.constraints.MaxNorm())


def dropping():
    return keras.Sequential([keras.layers.Dense(4), keras.layers.Dropout(0.5)])


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


class Velocity(keras.layers.Layer):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, x, t):
        return self.function(x)


def fast(x):
    return 100 * x


def broken(x):
    return ops.log(-1 - ops.abs(x))


def two():
    return ByColumn([RationalQuadratic(4), CircularRationalQuadratic(4)])


# (call, pattern of its message)
BAD = [
    # shapes
    (called(Squeeze(), 5, 8, 8), r"x\[\.\.\., None\] adds one"),
    (called(Planar(), 5), r"received shape \(5,\)\. .* x\[:, None\] is one number each, x\[None\]"),
    (called(Squeeze(), 2, 7, 4, 1), "axis 1 to be a multiple of 2.*received 7.*to 6 or 8"),
    (
        called(Chain([Squeeze(), Squeeze(name="second")]), 1, 6, 8, 1),
        "Squeeze 'second'.*axis 1 to be a multiple of 2, received 3",
    ),
    (lambda: Squeeze().inverse(ones(1, 2, 2, 6)), r"c a multiple of 4, received shape \(1, 2, 2, 6\)"),
    (lambda: built(Inverse(Squeeze()), 4, 4, 4).inverse(ones(4, 5, 4, 1)), "a multiple of 2, received 5"),
    (called(Reshape((10,)), 2, 3, 4), r"an event of 10 entries to make \(10,\) of, received \(3, 4\)"),
    (lambda: Flatten().inverse(ones(2, 12)), "a first call on data, or source="),
    (lambda: built(Flatten(), 3, 4).inverse(ones(2, 11)), r"latents of event shape \(12,\)"),
    (called(Permute([0, 1, 2]), 2, 6), r"a permutation of 0\.\.5 for 6 channels"),
    (called(Shift([1.0, 2.0]), 4, 3), r"or 3 for as many, received \[1.0, 2.0\]"),
    (called(Unconstrain(["real", "positive"]), 3, 4), "2 columns, as there are domains, received shape"),
    (called(SoftBounds([(0, 1), (0, 1)]), 3, 4), "2 columns, as there are bounds"),
    (called(OnColumns(Scale(), [True, False]), 2, 3), "expected 2 columns, one for each mark"),
    (called(Sylvester(units=5), 2, 4), "at least units=5 entries, received 4"),
    (
        lambda: built(MultiScale([Squeeze() for _ in range(4)], name="mine"), 8, 8, 1),
        r"MultiScale 'mine' broke 'levels'.*\(8, 8, 1\), which is \(1, 1, 8\) when scale 4.*Use at most 3 levels",
    ),
    (called(MultiScale(TWO_SCALES), 2, 4, 4, 3), "even number of channels after scale 1"),
    (
        lambda: built(MultiScale(TWO_SCALES), 8, 4, 2)(ones(5, 4, 4, 2)),
        r"\(8, 4, 2\).*received shape \(5, 4, 4, 2\)",
    ),
    (lambda: MultiScale([Squeeze()]).inverse(ones(2, 16)), r"to know the size of the data.*\.build\("),
    (
        lambda: built(MultiScale(TWO_SCALES), 4, 4, 2).inverse(ones(2, 31)),
        r"flat latents \(batch, 32\), received shape \(2, 31\)",
    ),
    # hooks
    (called(Hookless(), 1, 1), r"Hookless has no _forward\(self, x\)"),
    (lambda: Hookless().inverse(ones(1, 1)), r"Hookless has no _inverse\(self, z\)"),
    # data that cannot be adapted to
    (lambda: ActNorm().adapt(ones(0, 3)), r"at least one event, received shape \(0, 3\)"),
    (lambda: NormalScores().adapt(np.array([[0.0, 1.0], [1.0, 1.0]])), "column 1"),
    (lambda: Standardize().adapt(ones(3, 2)), "all 3 entries are 1 in float32, and 1 more such columns"),
    # parts
    (
        lambda: Chain([Shift(1.0), keras.layers.Dense(3)]),
        "got the entry <Dense .*expected a list of bijectors",
    ),
    (lambda: Chain([shared := Shift(), Permute(), shared]), "got a part twice"),
    (
        lambda: Chain([Sigmoid(), Sigmoid()], name="mine"),
        r"Chain 'mine' broke 'domain'.*Sigmoid .*its domain Domain\.REAL, received Domain\.UNIT_INTERVAL",
    ),
    (lambda: Chain([Exp(), Logit()]), "Logit .*to receive its domain Domain"),
    (lambda: Chain([Flatten(), Squeeze()]), "'event rank'.*Squeeze .*to receive events of rank 3"),
    (lambda: MultiScale([Squeeze(), Squeeze()], priors=[None, None]), "one prior fewer than scales"),
    (lambda: OnColumns(Affine(), [True]), "expected a bijector"),
    (lambda: OnColumns(Scale(), [0, 1]), "True or False for each"),
    (lambda: OnColumns(Scale(), [False, False]), "at least one of them True"),
    (lambda: OnColumns(Augment(1), [True]), "expected a bijector that draws nothing"),
    (lambda: ByColumn([]), r"transforms: got \[\], expected one for each column"),
    (lambda: ByColumn([ByColumn([Affine()])]), "expected one for each column"),
    (lambda: Repeat(built(Shift(), 3), 2), "is built"),
    (lambda: built(Repeat(Squeeze(), 2), 4, 4, 2), "keeps the event's shape"),
    (lambda: Repeat(Planar(), 2, backprop="reversible"), "closed form"),
    (lambda: built(Repeat(Coupling(constrained()), 2), 4), "constraint"),
    # networks
    (lambda: built(Coupling(keras.layers.Dense(5)), 7), r"Dense to return 6 channels.*\(None, 5\)"),
    (called(Coupling(MLP([8])), 2, 4, 4, 1), "one to keep and one to change"),
    (lambda: built(Coupling(ConvNet(8)), 4), r"inputs of rank 1, expected images .*MLP for vectors"),
    (lambda: Coupling(MLP([8]), split=[True, True]), "or a boolean mask of the event"),
    (
        lambda: Coupling(MLP([8]), Affine),
        r"transform: got <class .*, expected a flowkit.transforms.Transform",
    ),
    (
        lambda: Autoregressive(MADE([8]), Log()),
        r"onto itself.*Log\(\), from Domain.POSITIVE onto Domain.REAL",
    ),
    (lambda: built(Autoregressive(MLP([8])), 4), "those before it alone, received MLP"),
    (
        lambda: Autoregressive(MADE([8]), order=[0, 0, 1]),
        "Autoregressive's order: got .*, expected a permutation",
    ),
    (lambda: Autoregressive(MADE([8]), order="backwards"), "Autoregressive's order: got .*, expected one of"),
    (lambda: built(Autoregressive(MADE([8]), order=[2, 0, 1]), 4), "3 entries, for its order"),
    (
        lambda: MADE([4], features=8).build((None, 8)),
        "each of 8 entries hears all before it.*at least 8 wide",
    ),
    (lambda: MADE([8], features=6).build((None, 4)), "a multiple of 4 entries"),
    (
        lambda: MADE([4], features=3, degrees=[[1, 1, 1, 1]]).build((None, 3)),
        r"each of 3 entries hears all before it, received degrees \[\[1, 1",
    ),
    (
        lambda: MADE([2], degrees=[[2, 1]]),
        r"degrees: got .*, expected lists that never fall, of the lengths \[2\]",
    ),
    (
        called(Pointwise("affine", MLP([4])), 6, 1, context=np.zeros(6, "int32")),
        r"expected vectors \(batch, k\).*received shape \(6,\).*one_hot",
    ),
    (called(Pointwise("affine", MLP([4])), 6, 1), r"expected vectors \(batch, k\).*received none.*one_hot"),
    (
        called(Pointwise("affine", MLP([4])), 6, 1, context=ones(6, 2, 3)),
        r"one vector for each sample, received .*\(6, 2, 3\).*embedding=",
    ),
    (
        called(Pointwise("affine", MLP([4])), 6, 1, context={"a": ones(6, 2)}),
        "expected one tensor, received a dict of 'a'.*embedding=",
    ),
    (lambda: Pointwise("affine", MLP([4], context="required")), "received one with context='required'"),
    (
        called(Pointwise("affine", MLP([4], features=7)), 6, 1, context=ones(6, 2)),
        r"MLP to return 2 channels.*\(6, 7\).*features=, leave them out",
    ),
    (
        called(BlockAutoregressive(conditioner=MLP([4])), 2, 3, context=ones(2, 3, 3)),
        "one vector for each sample",
    ),
    (lambda: Planar(3), "Planar's conditioner: got 3, expected a Conditioner or a Keras layer"),
    (lambda: Residual(MLP([8])), "an attribute `lipschitz` between 0 and 1, received MLP.*LipschitzMLP"),
    (lambda: Residual(LipschitzMLP([8]), terms=3), "terms: got 3, expected None for trace='exact'"),
    # fields
    (
        lambda: built(Continuous(Field([8], features=4)), 3),
        r"a velocity of the shape of x, \(None, 3\), received .*4.* as many units",
    ),
    (
        called(Continuous(Velocity(fast), "dopri5", max_steps=3), 4, 3),
        r"to arrive within max_steps=3, received one that came .* Raise max_steps",
    ),
    (called(Continuous(Velocity(broken)), 4, 3), "a solve that ends in numbers, received NaN for 4 samples"),
    (
        called(Continuous(Velocity(keras.layers.Dropout(0.5))), 4, 3),
        "same for the same x and t, received V",
    ),
    (
        lambda: Continuous(Field([8])).velocity(ones(4, 3), 1.5),
        r"velocity's t: got 1\.5, expected times from 0",
    ),
    (
        lambda: Continuous(Field([8]), guidance=1),
        "guidance: got 1.0, expected 0 for a field with context='none'",
    ),
    (
        called(OnColumns(Continuous(Field([8])), [True] * 17 + [False]), 2, 18),
        r"a bijector that draws nothing, .*Continuous\(trace='exact'\)",
    ),
    # what cannot run once more in the backward pass
    (
        called(Chain([Continuous(Field([8]))], backprop="recompute"), 2, 18),
        "parts without noise, for backprop='rec",
    ),
    (
        lambda: Chain([Inverse(Inverse(Autoregressive(MADE([4]))))], backprop="reversible"),
        "inverses in closed form.*backprop='recompute'",
    ),
    (
        lambda: built(Chain([Coupling(dropping())], backprop="recompute"), 4),
        "draws random numbers.*backprop='stored'",
    ),
    # columns and contexts
    *(
        (
            lambda shape=shape: LinearGaussian(context="required").adapt(normal(6, 3), normal(6, 2))(
                normal(6, 3), ones(*shape)
            ),
            r"expected vectors \(batch, 2\), received shape",
        )
        for shape in ((6,), (6, 3), (6, 2, 1))
    ),
    (lambda: built(Pointwise(two()), 3), "2 columns, one for each transform of its ByColumn, received 3.$"),
    (lambda: built(Coupling(MLP([8]), two()), 3), "expected 2 columns, .* received 1. .* a mask as split"),
    (
        lambda: built(Coupling(MLP([8]), two(), swap=True), 3),
        "the domain of all 3 columns, .* a mask as split",
    ),
    (
        lambda: built(AngularMADE([8], angles=[3], features=3), 3),
        "from 0 to 2, for 3 columns, received the place 3",
    ),
    (lambda: built(Coupling(AngularMLP([8], angles=[2])), 3), "0 to 1, for 2 columns, .* are kept alone"),
    # words and numbers
    (lambda: HouseholderRotation(3), "reflections: got 3, expected an even number"),
    (lambda: Reshape(4), "the sizes of an event"),
    *(
        (lambda bounds=bounds: SoftBounds(bounds), r"bounds: got .*, expected a list of finite \(low, high\)")
        for bounds in ([], [(1, 0)], [(0, None)], [("a", 1)])
    ),
    *(
        (lambda domains=domains: Unconstrain(domains), message)
        for domains, message in (
            (["real", ("circular", 0)], r"column 1: got \('circular', 0\), expected"),
            ([("circular", 2, 2)], r"got \('circular', 2, 2\), expected .* with low < high"),
            (["real", "negative"], "column 1: got 'negative', expected 'real', 'positive',"),
            ([(1, 1)], r"got \(1, 1\), expected .* with low < high"),
            ("positive", "got 'positive', expected a list of domains"),
            ([], "got no domains, expected one for each column"),
        )
    ),
]


@pytest.mark.parametrize(("call", "says"), BAD)
def test_says_what_was_expected(call, says):
    with pytest.raises((TypeError, ValueError, NotImplementedError), match=says):
        call()
