"""Scores of which each process has its part: those of one process, whatever the parts are."""

import numpy as np
import pytest

from flowkit import Flow, distributed, zoo
from flowkit.bijectors import Shift
from flowkit.evaluation import level_bits
from flowkit.evaluation.levels import level_bits_in_a_group
from flowkit.flow.scoring import score_in_a_group

pytestmark = pytest.mark.one_engine


@pytest.fixture
def parts(monkeypatch):
    """`ask()` as each of `count` processes, whose own part alone comes back to it."""

    def asked(ask, count):
        came = []
        for rank in range(count):
            with monkeypatch.context() as patch:
                patch.setattr(distributed, "mine", lambda rows, rank=rank: np.array_split(rows, count)[rank])
                came.append(ask())
        return came

    return asked


@pytest.mark.parametrize("count", [2, 7])
def test_what_levels_carry_is_shared(parts, perturb, images, count):
    flow = perturb(zoo.glow(levels=2, steps=1, width=4).adapt(images))
    came = parts(lambda: level_bits_in_a_group(flow, images[:5]), count)
    assert [len(part) for part in came] == [len(part) for part in np.array_split(np.arange(5), count)]
    np.testing.assert_allclose(np.concatenate(came), level_bits(flow, images[:5]), rtol=1e-4)


def test_a_process_without_rows_asks_as_the_others_do(parts):
    flow = Flow(Shift(1.0))
    x = np.ones((2, 3), "float32")
    flow.adapt(x)
    came = parts(lambda: score_in_a_group(flow, x)[1], 3)
    assert [part.shape for part in came] == [(1,), (1,), (0,)]
    np.testing.assert_allclose(np.concatenate(came), -flow.log_prob(x), rtol=1e-6)
    refusals = []

    def refused():
        with pytest.raises(ValueError, match="samples=1 for a flow whose log_prob is exact"):
            score_in_a_group(flow, x, samples=2)
        refusals.append(True)

    parts(refused, 3)
    assert len(refusals) == 3
