"""Ranks of the truth among draws: uniform for the right density, uneven for wrong ones; and C2ST of two samples."""

import numpy as np
import pytest

from flowkit import Flow
from flowkit.bijectors import Chain, Scale, Shift
from flowkit.conditioners import MLP
from flowkit.distributions import Normal
from flowkit.evaluation import c2st, rank_band, ranks, uniformity


@pytest.fixture(scope="module")
def truth():
    """x ~ N(0, 1) and c = x: q(x | c) of the flows below is N(0, 1), whatever c, moved and widened."""
    x = np.random.default_rng(0).normal(size=(2_000, 1)).astype("float32")
    return x, x


def posterior(shift=0.0, log_scale=0.0):
    """N(shift, e^log_scale): an untrained network's answer is mean 0 and deviation 1."""
    flow = Flow(Chain([Shift(-shift), Scale(-log_scale)]), Normal(conditioner=MLP([4])))
    flow.build({"x": (None, 1), "context": (None, 1)})
    return flow


def test_ranks_of_the_right_density_are_uniform(truth):
    found = ranks(posterior(), *truth, draws=19, seed=0)
    assert found.shape == (2_000, 1)
    assert found.dtype == "int64"
    assert set(np.unique(found)) == set(range(20))
    assert uniformity(found, draws=19)[0] > 0.01


@pytest.mark.parametrize(
    ("wrong", "lowest", "middle", "highest"),
    [
        ({"log_scale": -0.7}, True, False, True),  # too narrow
        ({"log_scale": 0.7}, False, True, False),  # too wide
        ({"shift": 1.0}, True, False, False),  # too far to the right: the truth is below
    ],
)
def test_wrong_densities_are_told_by_their_shape(truth, wrong, lowest, middle, highest):
    found = ranks(posterior(**wrong), *truth, draws=19, seed=0)
    assert uniformity(found, draws=19)[0] < 0.001
    counts = np.bincount(found[:, 0], minlength=20) / 100  # 1 each, if uniform
    assert [counts[:2].mean() > 1.3, counts[9:11].mean() > 1.3, counts[-2:].mean() > 1.3] == [
        lowest,
        middle,
        highest,
    ]


def test_ranks_are_counts_of_the_flows_own_draws_in_pieces_too(truth, monkeypatch):
    x, context = (rows[:50] for rows in truth)
    flow = posterior()
    assert (ranks(flow, x, context, draws=30, seed=1) == ranks(flow, x, context, draws=30, seed=1)).all()
    monkeypatch.setattr("flowkit.evaluation._NUMBERS", 50 * 7)  # 7, 7, 7, 7 and 2 draws
    asked, sample = [], flow.sample

    def recorded(n, *args, **options):
        asked.append(sample(n, *args, **options))
        return asked[-1]

    monkeypatch.setattr(flow, "sample", recorded)
    found = ranks(flow, x, context, draws=30, seed=1)
    assert [len(drawn) for drawn in asked] == [7, 7, 7, 7, 2]
    assert len({drawn[0, 0, 0] for drawn in asked}) == 5  # each piece draws anew
    np.testing.assert_array_equal(found, (np.concatenate(asked) < x).sum(axis=0))


def test_ties_are_broken_by_chance(monkeypatch):
    """Of pixels that are all 0 ranks are uniform: each is as likely to come first."""
    flow, dark = posterior(), np.zeros((2_000, 1), "float32")
    monkeypatch.setattr(flow, "sample", lambda n, *_, **__: np.zeros((n, 2_000, 1), "uint8"))
    assert uniformity(ranks(flow, dark, dark, draws=9, seed=0), draws=9)[0] > 0.01


def test_the_band_holds_as_often_as_it_says():
    """Of sets of uniform ranks that it was not made from, 95 percent stay within for all k: 3 deviations of 2,000."""
    n, draws = 300, 20
    u, lower, upper = rank_band(n, draws=draws)
    found = np.random.default_rng(7).integers(0, draws + 1, (2_000, n))
    share = (found[:, :, None] <= np.arange(draws + 1)).mean(axis=1)
    inside = ((share >= lower - 1e-9) & (share <= upper + 1e-9)).all(axis=1).mean()
    assert abs(inside - 0.95) < 0.02
    assert u[-1] == lower[-1] == upper[-1] == 1
    p = uniformity(found.T, draws=draws)
    assert p.shape == (2_000,)
    assert abs((p < 0.05).mean() - 0.05) < 0.02
    assert abs((p < 0.5).mean() - 0.5) < 0.05


def test_a_classifier_tells_samples_apart_that_differ():
    rows, other = np.random.default_rng(0).normal(size=(2, 400, 2))
    assert abs(c2st(rows, other, folds=2, epochs=10) - 0.5) < 0.1
    moved = other + np.array([2.0, 0.0])
    apart = c2st(rows, moved, folds=2, epochs=20)
    assert abs(apart - 0.841) < 0.05  # the best is Phi(1)
    assert c2st(rows, other[:300] + 50.0, folds=2, epochs=20) > 0.99
    in_other_units = c2st(1e6 * rows + 1e8, 1e6 * moved + 1e8, folds=2, epochs=20)
    assert abs(in_other_units - apart) < 0.02

    with pytest.raises(
        ValueError, match=r"shapes \(400, 2\) and \(400, 1\), expected rows of the same columns"
    ):
        c2st(rows, rows[:, :1])
    with pytest.raises(ValueError, match="got NaN or infinity"):
        c2st(rows, rows * np.nan)
