"""Domain: what lies in it, and points drawn from it."""

import math

import numpy as np
import pytest
from keras import ops

from flowkit.contract import Domain

pytestmark = pytest.mark.two_engines

DOMAINS = {
    "real": Domain.REAL,
    "positive": Domain.POSITIVE,
    "unit": Domain.UNIT_INTERVAL,
    "interval": Domain.interval(-3, 5),
    "below": Domain.interval(-math.inf, 2),
    "columns": Domain.intervals((0, math.inf), (-math.inf, math.inf), (-3, 5), (-math.inf, 2)),
    "circle": Domain.CIRCLE,
    "beside circles": Domain.each(Domain.REAL, Domain.CIRCLE, Domain.circle(0, 24), Domain.POSITIVE),
    "simplex": Domain.SIMPLEX,
}


@pytest.mark.parametrize("name", DOMAINS)
def test_points_drawn_from_the_real_line_lie_inside(name):
    # 6 standard deviations of a normal: what a checker or a sampler will meet.
    t = ops.convert_to_tensor(np.random.default_rng(0).uniform(-6, 6, (50, 4)).astype("float32"))
    x = DOMAINS[name].from_real(t)
    assert tuple(x.shape) == (50, 4)
    assert DOMAINS[name].contains(x)


@pytest.mark.parametrize(
    ("domain", "inside", "outside"),
    [
        (Domain.REAL, [-1e30, 0.0], [math.inf, 0.0]),
        (Domain.POSITIVE, [1e-30, 3.0], [0.0, 3.0]),
        (Domain.UNIT_INTERVAL, [0.25, 0.75], [0.25, 1.0]),
        (Domain.interval(-1, 1), [-0.9, 0.9], [-1.0, 0.9]),
        (Domain.intervals((0, math.inf), (-1, 1)), [7.0, -0.9], [0.9, -1.0]),
        (Domain.intervals((-math.inf, math.inf), (-1, 1)), [-7.0, 0.9], [math.inf, 0.9]),
        (Domain.CIRCLE, [-3.1415925, 3.1], [-3.1, 3.1415930]),
        (Domain.each(Domain.POSITIVE, Domain.circle(0, 24)), [7.0, 0.0], [7.0, 24.0]),
        (Domain.SIMPLEX, [0.25, 0.75], [0.25, 0.8]),
        (Domain.SIMPLEX, [0.0, 1.0], [-0.25, 1.25]),
    ],
)
def test_the_edge_belongs_where_it_should(domain, inside, outside):
    assert domain.contains(ops.convert_to_tensor([inside], dtype="float32"))
    assert not domain.contains(ops.convert_to_tensor([outside], dtype="float32"))


def test_one_entry_outside_is_enough():
    x = np.full((100, 7), 0.5, "float32")
    x[99, 6] = 1.5
    assert not Domain.UNIT_INTERVAL.contains(ops.convert_to_tensor(x))


def test_intervals_and_circles_side_by_side():
    mixed = Domain.each(Domain.REAL, Domain.circle(0, 24))
    assert mixed.columns == [Domain.REAL, Domain.circle(0, 24)]
    assert Domain.each(Domain.POSITIVE, Domain.POSITIVE) == Domain.POSITIVE
    assert Domain.each(Domain.CIRCLE, Domain.CIRCLE) == Domain.CIRCLE
    assert Domain.circle(-math.pi, math.pi) == Domain.CIRCLE
    assert str(mixed) == "Domain.each(Domain.REAL, Domain.circle(0, 24))"
    assert Domain.intervals((0, 1), (0, 1)) == Domain.UNIT_INTERVAL


@pytest.mark.parametrize(
    ("call", "says"),
    [
        *(
            (lambda ends=ends: Domain.interval(*ends), "expected low < high")
            for ends in ((1, 1), (math.nan, 1))
        ),
        *(
            (lambda ends=ends: Domain.circle(*ends), "expected finite low < high")
            for ends in ((1, 1), (0, math.inf))
        ),
        (Domain.intervals, "got no columns"),
        (
            lambda: Domain.each(Domain.SIMPLEX),
            "expected an interval, a circle or whole numbers for each column",
        ),
    ],
)
def test_what_is_no_set_is_refused(call, says):
    with pytest.raises(ValueError, match=says):
        call()
