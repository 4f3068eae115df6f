"""What an objective cannot train gets one error that says what was expected, when it is compiled or fitted."""

import numpy as np
import pytest
from keras import ops
from small_objectives import X, built, standard_normal

from flowkit import BijectorSpec, Flow
from flowkit.bijectors import ActNorm, Continuous, Coupling, Flatten, Inverse, Shift
from flowkit.conditioners import MLP, Field
from flowkit.contract import Domain
from flowkit.data import Dequantize
from flowkit.distributions import Mixture
from flowkit.objectives import FlowMatching, MaximumLikelihood, Objective, ReverseKL
from flowkit.surjections import Augment, Slice

pytestmark = pytest.mark.one_engine


class OneWay(Shift):
    spec = BijectorSpec(inverse="none")


class Solved(Shift):
    spec = BijectorSpec(inverse="iterative", solver_gradients=False)


class Whole(Shift):
    spec = BijectorSpec(domain=Domain.whole(0, 255))


class Mean(Objective):
    def __call__(self, flow, x, context):
        return ops.mean(x)


def continuous(context="none"):
    return Continuous(Field([8], context=context), steps=2)


def compiled(loss, bijector=None, **options):
    flow = Flow(Shift() if bijector is None else bijector, **options)
    flow.compile("sgd", loss=loss)
    return flow


def fitted(loss, *data, flow=None, **options):
    flow = built() if flow is None else flow
    flow.compile("sgd", loss=loss)
    flow.fit(*data, verbose=0, **options)


def conditional():
    flow = Flow(Coupling(MLP([4], context="required")))
    flow.build({"x": (None, 2), "context": (None, 1)})
    return flow


def reverse(**options):
    return ReverseKL(standard_normal, **options)


def undefined(x):
    return ops.sum(x, axis=-1) * np.nan


BAD = [
    # flows
    (lambda: compiled(FlowMatching()), r"got Shift, expected a bijector with velocity\(x, t, context=None\)"),
    (
        lambda: compiled(FlowMatching(drop_context=0.1), continuous()),
        r"drop_context: got 0\.1, expected 0 for a field with context='none'",
    ),
    (
        lambda: compiled(FlowMatching(pairs="optimal"), continuous("required")),
        "pairs: got 'optimal', expected 'independent' for a flow with a context",
    ),
    (lambda: compiled(reverse(), base=Mixture(2)), "got a Mixture as base, expected one whose draws"),
    (lambda: compiled(reverse(), dequantize=Dequantize()), "got a flow with dequantize"),
    (lambda: compiled(reverse(), Whole()), "expected one of continuous data"),
    (lambda: compiled(reverse(), Augment(1)), r"log_prob is a bound, .*\(log_density, stick_the_landing=F"),
    (lambda: compiled(reverse(), OneWay()), r"got a bijector with no inverse, .* Turn it around"),
    (lambda: compiled(reverse(), Solved()), "an inverse that is solved without gradients"),
    # densities
    (
        lambda: fitted(ReverseKL(undefined), steps_per_epoch=1),
        "got NaN or infinite numbers for 256 of 256 draws",
    ),
    (
        lambda: fitted(ReverseKL(lambda x: -ops.square(x[:, :1])), steps_per_epoch=1),
        r"log_density: got shape \((256|None), 1\), expected \((256|None),\)",
    ),
    (
        lambda: fitted(
            ReverseKL(lambda x, c: standard_normal(x), alpha=0.5),
            flow=conditional(),
            context=np.zeros((8, 1)),
        ),
        "alpha=0.5 with a context, expected 1",
    ),
    (lambda: reverse(anneal=1.0), "anneal"),
    (lambda: fitted(Mean(), X, batch_size=64), r"Mean: got shape \(\), expected \((64|None),\)"),
    # data
    (lambda: fitted(MaximumLikelihood(), steps_per_epoch=3), "got no data, expected an array"),
    (lambda: fitted(reverse(), X), "fit: got ndarray, expected no data for ReverseKL"),
    (
        lambda: compiled(reverse()).train_on_batch(X),
        "train_on_batch: got ndarray, expected no data for ReverseKL",
    ),
    (lambda: fitted(reverse()), "fit: got no steps_per_epoch=, expected one for ReverseKL"),
    (lambda: fitted(reverse(), flow=Flow(Shift()), steps_per_epoch=1), r"Call .build\(\(None, d\)\)"),
    # draws
    (lambda: Flow(Shift()).draw(3), r"Call .build\(\(None, d\)\)"),
    (
        lambda: built(Flatten(), dequantize=Dequantize()).draw(3),
        "draw: got a flow of whole values, expected one",
    ),
    (lambda: built().draw(0), "n: got 0, expected a whole number from 1 up"),
    (lambda: built(ActNorm()).draw(3), "adapt"),
    (lambda: conditional().draw(5), "context"),
]


@pytest.mark.parametrize(("call", "says"), BAD)
def test_says_what_was_expected(call, says):
    with pytest.raises((TypeError, ValueError), match=says):
        call()


def test_what_is_next_to_it_is_trained():
    compiled(reverse(stick_the_landing=False), Augment(1))
    compiled(reverse(), Slice(1))
    compiled(reverse(), Inverse(Solved()))


def test_a_refused_density_changes_no_weight():
    flow = built()
    before = flow.get_weights()
    with pytest.raises(ValueError, match="NaN"):
        fitted(ReverseKL(undefined), flow=flow, steps_per_epoch=1)
    for weight, value in zip(flow.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, value)
