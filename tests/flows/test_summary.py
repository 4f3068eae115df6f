"""What a flow says is in it."""

import numpy as np
import pytest

import flowkit
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


def test_a_flow_that_is_not_built_says_how():
    assert "flow.build((None, ...))" in told(flowkit.zoo.nsf())
