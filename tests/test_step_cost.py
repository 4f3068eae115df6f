"""The formula of docs/scaling.md, and the table that it prints there."""

import importlib
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.one_engine

ROOT = Path(__file__).parents[1]


@pytest.fixture
def cost(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("step_cost")


def test_a_ring_hands_on_each_byte_twice_and_waits_for_each_hop(cost):
    # Written out: 2 (n - 1) rounds, in each of which every device sends an n-th of the bytes.
    link = cost.Link(latency=1e-3, bandwidth=1e6)
    for n in (2, 4, 8):
        rounds = sum(1e-3 + 1e6 / n / 1e6 for _ in range(2 * (n - 1)))
        assert link.all_reduce(n, 1e6) == pytest.approx(rounds)


def test_a_tree_waits_for_fewer_hops(cost):
    ring, tree = (cost.Link(1e-3, 1e6, tree=tree) for tree in (False, True))
    assert [ring.hops(n) for n in (2, 4, 512)] == [2, 6, 1022]
    assert [tree.hops(n) for n in (2, 4, 512)] == [2, 4, 18]


def test_a_step_is_its_share_of_the_batch_and_the_talk(cost):
    compute, link = cost.Compute(fixed=1.0, per_image=0.5), cost.Link(0.25, 8.0)
    assert cost.step_seconds(compute, link, 1, 16, 8) == 9
    assert cost.step_seconds(compute, link, 4, 16, 8) == 3 + 6 * 0.25 + 1.5
    assert cost.step_seconds(compute, link, 4, 16, 8, messages=2) == 3 + 12 * 0.25 + 1.5
    assert cost.step_seconds(compute, link, 4, 16, 8, devices_at_once=2) == 6 + 6 * 0.25 + 1.5


def test_devices_that_say_nothing_lose_what_does_not_shrink(cost):
    silent = cost.Link(0.0, np.inf)
    assert cost.efficiency(cost.Compute(0.0, 1.0), silent, 8, 64, 1e9) == 1
    assert cost.efficiency(cost.Compute(1.0, 1.0), silent, 8, 64, 1e9, grows=True) == 1
    assert cost.efficiency(cost.Compute(8.0, 1.0), silent, 8, 64, 1e9) == pytest.approx((8 + 64) / 8 / 16)


def test_where_it_stops_paying(cost):
    # 2 (n - 1) / n of a second of talk beside 16 / n of work: 1 to 8 for n = 2, 1.75 to 2 for 8, 1.875 to 1 for 16.
    compute, link = cost.Compute(0.0, 1.0), cost.Link(0.0, 1.0)
    assert cost.stops_paying(compute, link, 16, 1.0) == 16
    assert cost.stops_paying(compute, link, 2, 1.0, grows=True) is None
    assert cost.stops_paying(compute, link, 1, 1.0, grows=True) == 4


def test_what_was_measured_gives_back_what_it_was_made_of(cost):
    link, compute, sizes = cost.Link(3e-5, 2e9), cost.Compute(0.1, 0.02), [1e3, 1e5, 1e7]
    found = cost.fitted_link(4, sizes, [link.all_reduce(4, size) for size in sizes])
    assert found.latency == pytest.approx(3e-5)
    assert found.bandwidth == pytest.approx(2e9)
    assert cost.fitted_compute([8, 16, 32], [compute.seconds(b) for b in (8, 16, 32)]) == pytest.approx(
        compute
    )


def test_the_page_has_the_tables_that_the_formula_gives(cost):
    page = (ROOT / "docs/scaling.md").read_text()
    assert cost.forecast() in page
    assert cost.ends() in page
