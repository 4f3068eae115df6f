"""Correct but awkward bijectors raise no alarm."""

import contextlib

import keras
import numpy as np
import pytest

from flowkit.testing import Example, check_bijector, parametrize_bijectors
from flowkit.testing.clauses.catalogue import CLAUSES
from flowkit.testing.given.subject import Subject
from flowkit.testing.given.trial import Trial
from flowkit.testing.verdicts.broken import Undecided
from tests.testing.awkward_bijectors import AWKWARD, Float32Inside
from tests.testing.bounded_layers import BOUNDED


@parametrize_bijectors(AWKWARD, profile="full")
def test_no_alarm(bijector, check):
    check(bijector)


# What is asked of weights of all sizes; to compile a solver's loop takes long, and says no more of it.
DRAWN = [name for name, clause in CLAUSES.items() if clause.per == "example"]


@parametrize_bijectors(BOUNDED, clauses=DRAWN)
def test_no_alarm_where_weights_are_large(bijector, check):
    check(bijector)


def test_there_are_many():
    assert len(AWKWARD) >= 25


# Six couplings that compute in float32 on PyTorch, whatever their policy: there these points make slopes of 1e-50, or
# inverses of 1e37, whose products float32 cannot hold.
@pytest.mark.parametrize(
    ("clause", "weights", "example"),
    [
        ("log-det", 126, Example((3,), seed=2, values=(0.0, -1000.0))),
        ("log-det", 147, Example((3,), seed=2, values=(0.0, -1000.0))),
        ("finite gradient", 1030, Example((3,), seed=6, noise=0.1, values=(-30.0,))),
        ("inverse round trip", 1018, Example((3,), seed=5, values=(100.0,))),
        ("inverse round trip", 1187, Example((3,), seed=0, values=(-8.0, 100.0))),
        ("inverse round trip", 1238, Example((3,), seed=0, values=(-8.0, 100.0))),
        ("inverse round trip", 351, Example((3,), seed=0, values=(1.0, -30.0))),  # on JAX, in float64
    ],
)
def test_no_alarm_beyond_the_range_of_the_computation(clause, weights, example):
    keras.utils.set_random_seed(weights)
    case = next(case for case in AWKWARD if case.name == "DeepCouplings")
    subject = Subject(case.make, event_shapes=case.event_shapes)
    subject.layer(
        example.event, "float64"
    )  # first, so that the seed decides its weights whatever the clause asks
    with contextlib.suppress(Undecided):
        CLAUSES[clause].check(Trial(subject, example))


def test_no_alarm_where_what_underflows_becomes_0():
    """XLA makes 0 of what is smaller than the smallest number with all its digits, here a third of it less."""
    example = Example((1,), values=(float(np.finfo("float32").tiny),))
    assert check_bijector(Float32Inside, clauses=["inverse round trip"], replay=example)
