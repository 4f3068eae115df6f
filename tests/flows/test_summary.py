"""What a flow says is in it."""

import keras
import numpy as np
import pytest

import flowkit
from flowkit.contract.errors import label
from flowkit.flow.summary import rows
from flowkit.surjections import Augment

pytestmark = pytest.mark.one_engine


def told(flow, **options):
    texts = []
    flow.summary(line_length=160, print_fn=texts.append, **options)
    (text,) = texts
    return " ".join(text.split())  # its lines wrap


def test_every_weight_is_counted_once():
    for flow in (
        flowkit.zoo.glow(levels=2, steps=3, width=4, input_shape=(8, 8, 1), num_classes=3),
        flowkit.zoo.nsf(features=3, layers=3, hidden=[8]),
        flowkit.zoo.bnaf(features=2),
    ):
        trained = sum(int(np.prod(w.shape)) for w in flow.trainable_weights)
        for expand in (False, True):
            assert sum(row.parameters for row in rows(flow, expand)) == trained
        assert f"{trained:,} parameters to train" in told(flow)


def test_levels_and_steps_of_a_glow():
    flow = flowkit.zoo.glow(levels=2, steps=3, width=4, input_shape=(8, 8, 1), backprop="reversible")
    found = rows(flow)
    assert [row.level for row in found] == ["", *["0"] * 5, *["1"] * 5, ""]
    assert {row.times for row in found if row.part == "ActNorm()"} == {3}
    assert "32 latents leave" in told(flow)
    assert len(rows(flow, expand_nested=True)) == len(found) + 2 * 2 * 3
    assert "kept for the backward pass: the ends of each chain (reversible)" in told(flow)
    assert "log_prob is a bound" in told(flow)


def test_what_a_log_det_is():
    assert rows(flowkit.zoo.residual(features=2, layers=1, trace="roulette"))[2].log_det == "estimate"
    flow = flowkit.Flow(Augment(1))
    flow.build((None, 2))
    assert rows(flow)[0].log_det == "bound"


def test_names_of_a_file_reach_the_terminal_escaped(capsys):
    evil = "\x1b[31m\x9b2J[bold]x"
    embedding = keras.Sequential([keras.layers.Dense(2, name=evil)], name=evil)
    flow = flowkit.Flow(flowkit.zoo.nsf(hidden=[8], context=2).bijector, embedding=embedding, name=evil)
    print(flow)
    flow.summary()
    flow.build({"x": (None, 2), "context": (None, 3)})
    flow.summary(print_fn=print, line_length=200)
    print(flow._repr_html_())
    try:
        flow.bijector.parts[0](np.zeros((2, 3)))
    except ValueError as error:
        print(error)
    flow.bijector.parts[0]._name = evil
    print(label(flow.bijector.parts[0]))
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\x9b" not in out
    assert "[bold]x" in out


def test_what_is_trainable_is_shown_if_asked():
    flow = flowkit.zoo.glow(levels=2, steps=3, width=4, input_shape=(8, 8, 1))
    flow.bijector.scales[0].trainable = False
    flow.base.trainable = False
    found = rows(flow)
    trained = {
        level: [row for row in found if row.level == level and "ActNorm" in row.part] for level in "01"
    }
    assert [(row.trainable, row.parameters) for row in trained["0"]] == [("N", 0)]
    assert [(row.trainable, row.parameters) for row in trained["1"]] == [("Y", 3 * 2 * 8)]
    assert found[0].trainable == "-"
    assert "trainable" in told(flow, show_trainable=True)
    assert "trainable" not in told(flow)
