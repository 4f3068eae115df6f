"""C2ST, TARP and recovery: right for right densities, wrong for the faults that they are for."""

import numpy as np
import pytest

from flowkit import Flow, diagnostics
from flowkit.bijectors import Scale
from flowkit.conditioners import MLP
from flowkit.distributions import Normal
from flowkit.evaluation import c2st

rng = np.random.default_rng(0)
ROWS = rng.normal(size=(400, 2)).astype("float32")
CONTEXT = rng.normal(size=(400, 1)).astype("float32")


@pytest.fixture(scope="module")
def unheard():
    """q(x | context) = N(0, 1), whatever the context is."""
    flow = Flow(Scale(0.0), base=Normal(conditioner=MLP([8])))
    flow.build({"x": (None, 2), "context": (None, 1)})
    return flow


def test_a_classifier_tells_samples_apart_that_differ():
    other = rng.normal(size=(400, 2))
    assert abs(c2st(ROWS, other, folds=2, epochs=10) - 0.5) < 0.1
    moved = other + np.array([2.0, 0.0])
    apart = c2st(ROWS, moved, folds=2, epochs=20)
    assert abs(apart - 0.841) < 0.05  # the best is Phi(1)
    assert c2st(ROWS, other + 50.0, folds=2, epochs=20) > 0.99
    assert c2st(1e6 * ROWS + 1e8, 1e6 * other[:300] + 1e8, folds=2, epochs=2) < 0.65


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (ROWS, ROWS[:, :1], r"shapes \(400, 2\) and \(400, 1\), expected rows of the same columns"),
        (ROWS, ROWS[:3], "at least 5"),
        (ROWS, ROWS * np.nan, "got NaN or infinity"),
    ],
)
def test_samples_that_cannot_be_compared_are_refused(x, y, message):
    with pytest.raises(ValueError, match=message):
        c2st(x, y)


def test_random_points_see_dependence_that_ranks_miss(unheard):
    assert diagnostics.tarp(unheard, ROWS, CONTEXT, draws=49).passed
    mixed = ROWS @ np.array([[1.0, 0.95], [0.0, np.sqrt(1 - 0.95**2)]], "float32")  # N(0, 1) each, correlated
    assert diagnostics.calibration(unheard, mixed, CONTEXT, draws=49).passed
    found = diagnostics.tarp(unheard, mixed, CONTEXT, draws=49)
    assert not found.passed
    assert "uneven" in found.sentence
    assert found.figure.axes
    with pytest.raises(ValueError, match="tarp: got 1 rows, expected at least 2"):
        diagnostics.tarp(unheard, ROWS[:1], CONTEXT[:1])


def test_recovery_is_nothing_for_a_context_that_is_not_read(unheard):
    found = diagnostics.recovery(unheard, ROWS, CONTEXT, draws=49)
    assert np.abs(found.numbers["contraction"]).max() < 0.2
    assert np.abs(found.numbers["correlation"]).max() < 0.2
    assert found.passed is None
    assert len(found.figure.axes) == 2
