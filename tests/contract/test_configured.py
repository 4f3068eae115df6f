"""What a layer says of itself: one line, without addresses, that makes it anew if nothing in it is left out."""

import keras
import numpy as np
import pytest

import flowkit
from flowkit import bijectors, conditioners, distributions, objectives, transforms
from flowkit.bijectors import Chain, Coupling, Scale, Shift
from flowkit.conditioners import MLP
from flowkit.contract.configured import one_line

pytestmark = pytest.mark.one_engine

NAMES = {
    name: value
    for room in (bijectors, conditioners, distributions, objectives, transforms)
    for name, value in vars(room).items()
    if isinstance(value, type)
}


@pytest.mark.parametrize(
    "source",
    [
        "Scale(0.5)",
        "Shift([1.0, 2.0])",
        "MLP([8, 8], activation='tanh')",
        "Coupling(MLP([8]), RationalQuadratic(4), split='alternating', swap=True)",
        "Chain([Shift(), Scale()], backprop='recompute')",
        "Normal(learn=True)",
        "StudentT(3.0)",
        "MaximumLikelihood()",
        "Unconstrain([[0.0, 1.0]])",
    ],
)
def test_what_is_shown_makes_it_anew(source):
    assert repr(eval(source, NAMES)) == source


@pytest.mark.parametrize(
    "thing",
    [
        flowkit.zoo.glow(levels=3, steps=4, width=8, num_classes=3),
        flowkit.zoo.nsf(features=3, context=2, embedding=keras.layers.Dense(4)),
        Coupling(MLP([8]), split=np.eye(50, dtype=bool)),
    ],
    ids=lambda thing: type(thing).__name__,
)
def test_larger_things_are_one_line_without_addresses(thing):
    assert "\n" not in repr(thing)
    assert " at 0x" not in repr(thing)
    assert len(repr(thing)) < 500


def test_what_is_not_made_yet_is_shown_too():
    assert one_line(object.__new__(Chain)) == "Chain()"


def test_long_lists_and_deep_calls_are_cut():
    inner = Shift(1.0)
    for _ in range(9):
        inner = Chain([inner])
    assert repr(inner) == "Chain([Chain([Chain([Chain([Chain(...)])])])])"
    assert repr(MLP([8] * 9)) == "MLP([8, 8, 8, 8, 8, 8, ... 3 more])"


def test_weights_are_shown_by_what_they_were_made_of():
    for made, text in ((Scale(0.5), "Scale(0.5)"), (Shift(), "Shift()")):
        made.build((None, 3))
        assert repr(made) == text


class Halving(Scale):
    """Passes an argument of its base by itself."""

    def __init__(self, learn=True, **kwargs):
        super().__init__(log_scale=-0.5, **kwargs)
        self.learn = learn


def test_what_a_subclass_passes_to_its_base_is_no_argument_of_its_own():
    layer = Halving(learn=False, name="half")
    assert repr(layer) == "Halving(False)"
    config = layer.get_config()
    assert "log_scale" not in config
    assert Halving.from_config(config).get_config() == config
