"""Correct but awkward bijectors raise no alarm."""

import contextlib

import keras
import numpy as np
import pytest

from flowkit.bijectors import Chain, SoftBounds, Unconstrain
from flowkit.contract import ContractError
from flowkit.surjections import Absolute
from flowkit.testing import Example, check_bijector, parametrize_bijectors
from flowkit.testing.clauses import CLAUSES
from flowkit.testing.judging import Undecided
from flowkit.testing.subject import Subject
from flowkit.testing.trial import Trial
from tests.testing.awkward_bijectors import AWKWARD, Float32Inside

# Log-dets that do not change with the input, so that no gradient can be compared; or too flat, or too bent, to tell.
FLAT = "Hyperbolic ManyTerms Conditional OtherNames Steep Flat"
FLAT += " FarShift WithArgument PartAsDefault ThereAndBack Float32Inside DeepCouplings"
# What half precision, float32 or a solver rounds away is as large as the answer.
LOST = "FarShift ThereAndBack Bisected"
# (bijector, clause) that no example decides. Whatever else is asked of a bijector must have been judged.
NEVER_JUDGED = {(name, "log-det gradient") for name in FLAT.split()}
NEVER_JUDGED |= {(name, "mixed precision") for name in LOST.split()}


# With a formula for both ways, solved by iteration, of conditions and dicts, rounded by the engine in a way of its own.
AT_ONCE = {"Cube", "Bisected", "Conditional", "Simplex", "Float32Inside"}
FIRST = [case for case in AWKWARD if case.name in AT_ONCE]
EAGER = [name for name in CLAUSES if name != "compiled"]  # which takes seconds of a compiler


@parametrize_bijectors(FIRST, clauses=EAGER, profile="full")
def test_no_alarm(bijector, check):
    judged_and_kept(bijector, check.clause, "full")


@pytest.mark.long
@parametrize_bijectors(FIRST, clauses=["compiled"], profile="full")
def test_no_alarm_compiled(bijector, check):
    judged_and_kept(bijector, check.clause, "full")


@pytest.mark.long
@parametrize_bijectors([case for case in AWKWARD if case.name not in AT_ONCE], profile="full")
def test_no_alarm_at_others(bijector, check):
    judged_and_kept(bijector, check.clause, "full")


def judged_and_kept(case, clause, profile):
    """The clause holds, and not because no example could tell: "not asked" is for what does not apply."""
    result = case.run(clause, profile)
    if result.verdict == "broken":
        raise result.error
    tried_in_vain = result.verdict == "not asked" and result.examples > 0
    if tried_in_vain and result.reason != "it fits events of any size":  # which is known once it was tried
        assert (case.name, clause) in NEVER_JUDGED, result


def test_what_is_never_judged_names_what_is_there():
    assert {case.name for case in AWKWARD} >= {name for name, _ in NEVER_JUDGED} | AT_ONCE


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
    # First, so that the seed decides its weights whatever the clause asks.
    subject.layer64(example.event)
    with contextlib.suppress(Undecided):
        CLAUSES[clause].check(Trial(subject, example))


def test_no_alarm_where_what_underflows_becomes_0():
    """XLA makes 0 of what is smaller than the smallest number with all its digits, here a third of it less."""
    example = Example((1,), values=(float(np.finfo("float32").tiny),))
    assert check_bijector(Float32Inside, clauses=["inverse round trip"], replay=example)


def test_points_that_miss_a_peak_verify_nothing():
    """Twelve entries, each with nearly all its mass within a millionth of a bound."""
    layers = [SoftBounds([(-2.0, 3.0)] * 3, softness=0.1), Absolute(), Unconstrain([(0.0, None)] * 3)]
    with pytest.raises(ContractError, match="peak that few points hit"):
        check_bijector(Chain(layers), event_shapes=[(2, 2, 3)], clauses=["log-det"], examples=4)
