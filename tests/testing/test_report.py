"""A report reads from the fault to the rest, and shows it at the smallest numbers."""

import re

from keras import ops

from flowkit import Bijector
from flowkit.contract import BijectorSpec
from flowkit.testing import check_bijector

CLAUSES = "shape inference", "round trip", "inverse round trip", "log-det", "noise"


class RightNearZero(Bijector):
    spec = BijectorSpec(event_rank=1)

    def _forward(self, x):
        return 2.0 * x, ops.full((), 0.6931471805599453) * x.shape[-1]

    def _inverse(self, z):
        x = z / 2.0
        return ops.where(ops.abs(x) < 2.0, x, x + 0.1), -ops.full((), 0.6931471805599453) * x.shape[-1]


def test_a_report_shows_what_broke_first_and_where():
    report = check_bijector(RightNearZero(), clauses=CLAUSES, event_shapes=[(2,)], raises=False)
    first, *lines = str(report).splitlines()
    assert first.endswith("2 broken, 2 kept, 1 not asked")
    assert [line.split(": ")[0].split(maxsplit=1) for line in lines[:2]] == [
        ["broken", "round trip"],
        ["broken", "inverse round trip"],
    ]
    assert "first wrong near |x| = 2" in lines[0]
    assert lines[1].endswith("first wrong near |z| = 4; probably because 'round trip' is broken")
    assert re.search(r" at \[\S*2\.\d*[,\]]| at \[.* -?2\.\d*\]", lines[0]), "the point is that near 2"
    spent = sum(result.seconds for result in report.results)
    assert report.seconds >= spent > 0
