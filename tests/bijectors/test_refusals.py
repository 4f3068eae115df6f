"""What a bijector is not made of, and not called with, gets an error that says what was expected, and what came."""

import keras
import numpy as np
import pytest

from flowkit.bijectors import (
    ActNorm,
    Autoregressive,
    BatchNorm,
    BlockAutoregressive,
    Chain,
    Coupling,
    Exp,
    Flatten,
    HouseholderRotation,
    Inverse,
    Logit,
    LULinear,
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
from flowkit.conditioners import MADE, MLP, LipschitzMLP, ResidualMADE, ResidualMLP
from flowkit.contract import Bijector, Domain
from flowkit.surjections import Augment
from flowkit.transforms import Affine, ByColumn, Transform

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


# (call, pattern of its message)
BAD = [
    # shapes
    (called(Squeeze(), 5, 8, 8), r"x\[\.\.\., None\] adds one"),
    (called(Planar(), 5), r"received shape \(5,\)\. .* x\[:, None\] is one number each, x\[None\]"),
    (called(Squeeze(), 2, 7, 4, 1), "axis 1 to be a multiple of 2.*received 7.*to 6 or 8"),
    (called(Squeeze(), 2, 1, 4, 1), r"received 1 .*resize that axis to 2\.$"),
    (called(Squeeze(), 1, 4, 7, 1), "axis 2 to be a multiple of 2, received 7 "),
    (
        called(Chain([Squeeze(), Squeeze(name="second")]), 1, 6, 8, 1),
        "Squeeze 'second'.*axis 1 to be a multiple of 2, received 3",
    ),
    (lambda: Squeeze().inverse(ones(1, 2, 2, 6)), r"c a multiple of 4, received shape \(1, 2, 2, 6\)"),
    (called(built(Inverse(Squeeze()), 4, 4, 4), 2, 4, 4, 6), r"c a multiple of 4, received shape"),
    (lambda: built(Inverse(Squeeze()), 4, 4, 4).inverse(ones(4, 5, 4, 1)), "a multiple of 2, received 5"),
    (called(Reshape((10,)), 2, 3, 4), r"an event of 10 entries to make \(10,\) of, received \(3, 4\)"),
    (lambda: Flatten().inverse(ones(2, 12)), "a first call on data, or source="),
    (lambda: built(Flatten(), 3, 4).inverse(ones(2, 11)), r"latents of event shape \(12,\)"),
    (called(Permute([0, 1, 2]), 2, 6), r"a permutation of 0\.\.5 for 6 channels"),
    (called(Permute([0, 0, 1]), 2, 3), r"a permutation of 0\.\.2 for 3 channels"),
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
    (lambda: MultiScale([Squeeze()]).split_latents(ones(2, 16)), "to know the size of the data"),
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
    (lambda: Inverse(keras.layers.Dense(2)), "got .*Dense.*, expected .*bijector"),
    (lambda: MultiScale([keras.layers.Dense(2)]), "got .*Dense.*, expected .*bijector"),
    (lambda: Chain([shared := Shift(), Permute(), shared]), "got a part twice"),
    (
        lambda: Chain([Sigmoid(), Sigmoid()], name="mine"),
        r"Chain 'mine' broke 'domain'.*Sigmoid .*its domain Domain\.REAL, received Domain\.UNIT_INTERVAL",
    ),
    (lambda: Chain([Exp(), Logit()]), "Logit .*to receive its domain Domain"),
    (lambda: Chain([Shift(1.0), Inverse(Exp())]), "to receive its domain Domain"),
    (lambda: Chain([Flatten(), Squeeze()]), "'event rank'.*Squeeze .*to receive events of rank 3"),
    (lambda: Chain([Squeeze(), Reshape((16,)), Squeeze()]), "to receive events of rank 3"),
    (lambda: MultiScale([], priors=[]), "one prior fewer than scales"),
    (lambda: MultiScale([Squeeze(), Squeeze()], priors=[None, None]), "one prior fewer than scales"),
    (lambda: OnColumns(Affine(), [True]), "expected a bijector"),
    (lambda: OnColumns(Scale(), [0, 1]), "True or False for each"),
    (lambda: OnColumns(Scale(), [False, False]), "at least one of them True"),
    (lambda: OnColumns(Augment(1), [True]), "expected a bijector that draws nothing"),
    (lambda: ByColumn([]), r"transforms: got \[\], expected one for each column"),
    (lambda: ByColumn([ByColumn([Affine()])]), "expected one for each column"),
    (lambda: ByColumn([Scale()]), "expected a list of transforms"),
    (lambda: Repeat(keras.layers.Dense(2), 2), "expected a bijector"),
    (lambda: Repeat(built(Shift(), 3), 2), "is built"),
    (lambda: built(Repeat(Squeeze(), 2), 4, 4, 2), "keeps the event's shape"),
    (lambda: Repeat(Planar(), 2, backprop="reversible"), "closed form"),
    (lambda: built(Repeat(Coupling(constrained()), 2), 4), "constraint"),
    # networks
    (lambda: built(Coupling(keras.layers.Dense(5)), 7), r"Dense to return 6 channels.*\(None, 5\)"),
    (called(Coupling(MLP([8])), 2, 4, 4, 1), "one to keep and one to change"),
    (lambda: Coupling(MLP([8]), split="rows"), "Coupling's split: got 'rows', expected one of "),
    (lambda: Coupling(MLP([8]), split=[True, True]), "or a boolean mask of the event"),
    (lambda: Coupling(MLP([8]), split=[0, 1]), "or a boolean mask of the event"),
    (lambda: Coupling(MLP([8]), split=[]), "or a boolean mask of the event"),
    (
        lambda: Coupling(MLP([8]), "linear"),
        "got 'linear', expected one of 'affine', 'additive', or a Transform ",
    ),
    (
        lambda: Coupling(MLP([8]), Affine),
        r"transform: got <class .*, expected a flowkit.transforms.Transform",
    ),
    (lambda: Coupling(MADE([8]), Log()), r"onto itself.*Log\(\), from Domain.POSITIVE onto Domain.REAL"),
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
    (lambda: MADE([]), "a list of widths"),
    (
        lambda: MADE([4], features=3, degrees=[[1, 1, 1, 1]]).build((None, 3)),
        r"each of 3 entries hears all before it, received degrees \[\[1, 1",
    ),
    (
        lambda: MADE([2], degrees=[[2, 1]]),
        r"degrees: got .*, expected lists that never fall, of the lengths \[2\]",
    ),
    (lambda: MADE([2], degrees=[]), r"degrees: got .*, expected lists that never fall, of the lengths \[2\]"),
    (lambda: ResidualMADE(4, features=8).build((None, 8)), "each of 8 entries hears all .*at least 8 wide"),
    (lambda: ResidualMADE(3, degrees=[1, 2]), r"degrees: got \[1, 2\], expected lists that never fall"),
    (lambda: ResidualMLP(8, blocks=0), "blocks: got 0, expected a whole number from 1 to 1024"),
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
    (lambda: BlockAutoregressive(conditioner=MLP([4], context="required")), "Leave context= out"),
    (
        called(BlockAutoregressive(conditioner=MLP([4])), 2, 3, context=ones(2, 3, 3)),
        "one vector for each sample",
    ),
    (lambda: Planar(3), "Planar's conditioner: got 3, expected a Conditioner or a Keras layer"),
    (lambda: Planar(MLP([8], context="optional")), "received one with context='optional'"),
    (lambda: Residual(MLP([8])), "an attribute `lipschitz` between 0 and 1, received MLP.*LipschitzMLP"),
    (
        lambda: Residual(LipschitzMLP([8]), trace="all"),
        "Residual's trace: got 'all', expected one of 'exact', 'h",
    ),
    (lambda: Residual(LipschitzMLP([8]), terms=3), "terms: got 3, expected None for trace='exact'"),
    # words and numbers
    (lambda: Permute("random"), "order: got 'random', expected one of 'reverse', 'shuffle'"),
    (lambda: LULinear(init="lu"), "LULinear's init: got 'lu', expected one of 'identity', 'random'"),
    (lambda: HouseholderRotation(3), "reflections: got 3, expected an even number"),
    (lambda: BatchNorm(momentum=1), r"momentum: got 1, expected a number in \[0, 1\)"),
    (lambda: LipschitzMLP([8], lipschitz=1), "lipschitz: got 1, expected a number between 0 and 1"),
    (lambda: Reshape(4), "the sizes of an event"),
    (lambda: Reshape((-1, 2)), "the sizes of an event"),
    *(
        (lambda bounds=bounds: SoftBounds(bounds), r"bounds: got .*, expected a list of finite \(low, high\)")
        for bounds in ([], 3, [(1, 0)], [(0, None)], [(0, np.inf)], [("a", 1)], [(0, 1, 2)])
    ),
    *(
        (lambda domains=domains: Unconstrain(domains), message)
        for domains, message in (
            (["real", ("circular", 0)], r"column 1: got \('circular', 0\), expected"),
            (["real", ("circular", 0, None)], r"column 1: got \('circular', 0, None\), expected"),
            (["real", ("square", 0, 1)], r"column 1: got \('square', 0, 1\), expected"),
            ([("circular", 2, 2)], r"got \('circular', 2, 2\), expected .* with low < high"),
            (["real", "negative"], "column 1: got 'negative', expected 'real', 'positive',"),
            ([(1, 1)], r"got \(1, 1\), expected .* with low < high"),
            ([(0, 1, 2)], r"got \(0, 1, 2\), expected"),
            ([("0", "1")], r"got \('0', '1'\), expected"),
            ("positive", "got 'positive', expected a list of domains"),
            ([], "got no domains, expected one for each column"),
        )
    ),
]


@pytest.mark.parametrize(("call", "says"), BAD)
def test_says_what_was_expected(call, says):
    with pytest.raises((TypeError, ValueError, NotImplementedError), match=says):
        call()
