"""Samples that processes draw together: each decodes its part, and all get what one process draws."""

import numpy as np
import pytest

from flowkit.engines import engine

pytestmark = pytest.mark.skipif(
    engine.name not in ("torch", "jax"), reason="one process on this engine, which test_samples.py asks"
)


@pytest.mark.parametrize("name", ["labels", "table", "one"])
def test_each_decodes_its_part_of_what_one_process_draws_and_all_get_it_whole(came_of, name):
    one, main, other = (came_of("spread", *who) for who in ((1, 0), (2, 0), (2, 1)))
    for seed in ("", "_next"):
        np.testing.assert_array_equal(main[name + seed], other[name + seed])
        np.testing.assert_allclose(main[name + seed], one[name + seed], rtol=1e-4, atol=1e-5)
    (whole,), (first,), (second,) = (run[f"{name}_rows"] for run in (one, main, other))
    # A part of no rows still costs one.
    assert (whole, first, second) == (1, 1, 1) if name == "one" else max(first, second) <= whole / 2 + 1
    # Without `spread` one process draws while the other does not.
    np.testing.assert_allclose(main[f"{name}_alone"], main[name], rtol=1e-4, atol=1e-5)
    assert f"{name}_alone" not in other.files
    np.testing.assert_allclose(main["log_prob"], one["log_prob"], rtol=1e-4, atol=1e-4)


def test_processes_that_ask_for_something_else_are_all_refused(came_of):
    for rank in (0, 1):
        assert "processes: got another n in some of them" in str(came_of("spread", 2, rank)["refused"])
    assert str(came_of("spread", 1, 0)["refused"]) == ""


def test_what_one_process_raises_ends_all_and_they_draw_on(came_of):
    one, main, other = (str(came_of("spread", *who)["refused_decode"]) for who in ((1, 0), (2, 0), (2, 1)))
    assert one.startswith("MemoryError: ")
    assert other == one
    assert main == f"ProcessFailed: process 1 of 2: {one}"
