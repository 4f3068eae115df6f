"""Flows that Hypothesis draws from all public parts keep what they promise to users.

`make test` draws the same few flows each time, `make check` many others by many_drawn_flows.py.
"""

import inspect
import math
import re

import hypothesis
import keras
import pytest

from flowkit import Flow, bijectors, conditioners, distributions, surjections, transforms
from flowkit.bijectors import (
    ActNorm,
    Autoregressive,
    BatchNorm,
    Chain,
    Coupling,
    Equalize,
    Exp,
    Haar,
    Inverse,
    Permute,
    Pointwise,
    Scale,
    Shift,
    Softplus,
    Unconstrain,
)
from flowkit.conditioners import MADE, MLP, LabelDropout
from flowkit.data import Dequantize, GaussianNoise
from flowkit.distributions import Logistic, Uniform
from flowkit.surjections import Absolute, Augment, DequantizeColumns, Sort, StochasticPermute
from flowkit.testing import DrawnFlow, check_flow, grammar, strategies
from flowkit.testing.flows import CHECKS
from flowkit.transforms import ByColumn, CircularRationalQuadratic

SETTINGS = hypothesis.settings(
    deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
)
ON_TORCH = keras.backend.backend() == "torch"


def checks_for(drawn):
    """Return all checks on PyTorch; one in turn on a backend that compiles for seconds."""
    names = list(CHECKS)[:-1]
    return names if ON_TORCH else [names[drawn.seed % len(names)]]


def maf():
    """Return layers that `adapt` runs without their log-dets."""
    return Flow(Chain([ActNorm(), Autoregressive(MADE([8]), "affine"), ActNorm()]))


def dropped_labels():
    """Return a network that hears the label -1 in training."""
    network = MLP([4], context="optional", num_classes=3)
    return Flow(Coupling(network), embedding=LabelDropout(3, rate=0.9))


def circles():
    """Return two layers onto one set, which one of them describes by columns."""
    circular = CircularRationalQuadratic(3)
    layers = [Pointwise(ByColumn([circular, circular])), Pointwise(circular)]
    return Flow(Chain(layers), base=Uniform(-math.pi, math.pi))


def noisy():
    """Return a flow whose samples are moved by a score that needs noise itself."""
    return Flow(StochasticPermute(), dequantize=GaussianNoise(0.1))


def shifted():
    """Return layers that round to 1 / 128 in float32."""
    return Flow(Chain([Shift(1e5), Shift(-1e5)]))


def turned():
    """Return a layer that takes statistics from latents."""
    return Flow(Inverse(Chain([BatchNorm(), Scale()])))


def sorted_again():
    """Return layers whose samples must not overflow: each takes numbers of any size to gaps."""
    return Flow(Chain([Sort(), Sort(), ActNorm()]))


def equalized():
    """Return a layer that draws numbers at the end of its domain."""
    return Flow(Chain([Equalize(4), ActNorm(), Scale()]))


def augmented():
    """Return layers of which one alone draws noise, whose density a float64 flow must have in float64."""
    return Flow(Chain([Augment(1), Scale()]))


def columns_then_permuted():
    """Return a layer that rearranges behind columns with sets of their own, which end before it."""
    columns = DequantizeColumns([("whole", 3), "real"])
    layers = [columns, Unconstrain(columns.coordinates), Exp(), Permute(), Unconstrain(2 * ["positive"])]
    return Flow(Chain(layers))


def exponential_twice():
    """Return layers whose samples reach the largest number."""
    logs = [Unconstrain(2 * ["positive"]) for _ in range(2)]
    return Flow(Chain([Exp(), logs[0], Softplus(), logs[1]]), base=Logistic())


def absolute():
    """Return a layer that receives 0, where its open codomain ends."""
    layers = [Shift(), Shift(), Haar(), Absolute(), Unconstrain(4 * ["positive"])]
    return Flow(Chain(layers), dequantize=Dequantize())


@hypothesis.settings(SETTINGS, max_examples=30 if ON_TORCH else 5, derandomize=True)
@hypothesis.given(strategies.flows())
def test_a_drawn_flow_keeps_its_promises(drawn):
    check_flow(drawn, checks_for(drawn))


# Each broke a promise when it was drawn, or was put together by a user.
FOUND = [
    DrawnFlow(maf, (3,), seed=0),
    DrawnFlow(dropped_labels, (2,), 3, seed=0),
    DrawnFlow(circles, (2,), seed=1),
    DrawnFlow(noisy, (2, 2, 1), seed=3),
    DrawnFlow(turned, (2,), seed=0),
    DrawnFlow(shifted, (2,), seed=0),
    DrawnFlow(sorted_again, (4,), seed=0),
    DrawnFlow(equalized, (2, 2, 1), seed=208),
    DrawnFlow(augmented, (2, 2, 1), seed=1),
    DrawnFlow(columns_then_permuted, (2,), seed=0),
    DrawnFlow(exponential_twice, (2, 4, 2), seed=0),
    DrawnFlow(absolute, (4, 4, 1), seed=114),
]


@pytest.mark.two_engines
@pytest.mark.parametrize(
    "drawn",
    [pytest.param(one, marks=() if ON_TORCH else pytest.mark.long) for one in FOUND],
    ids=lambda drawn: drawn.make.__name__,
)
def test_what_was_found_stays_mended(drawn):
    check_flow(drawn, checks_for(drawn))


def test_each_public_class_is_drawn_or_excluded():
    rooms = (bijectors, surjections, transforms, distributions, conditioners)
    drawn = set(re.findall(r"\b[bcpst]\.([A-Z]\w+)", inspect.getsource(grammar)))
    assert drawn ^ set(grammar.EXCLUDED) == {name for room in rooms for name in room.__all__}
