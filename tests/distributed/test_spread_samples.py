"""Samples that processes draw together: each decodes its part, and all get what one process draws."""

import numpy as np
import pytest

from flowkit.engines import engine

pytestmark = pytest.mark.skipif(
    engine.name not in ("torch", "jax"), reason="one process on this engine, which test_samples.py asks"
)
NAMES = ("labels", "table", "one")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", ["", "_next"])
def test_all_get_what_one_process_draws(came_of, name, seed):
    one, main, other = (came_of("spread", *who)[name + seed] for who in ((1, 0), (2, 0), (2, 1)))
    np.testing.assert_array_equal(main, other)
    np.testing.assert_allclose(main, one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_each_decodes_its_part(came_of, name):
    (one,), (main,), (other,) = (came_of("spread", *who)[f"{name}_rows"] for who in ((1, 0), (2, 0), (2, 1)))
    if name == "one":
        assert (one, main, other) == (1, 1, 1)  # a part of no rows still costs one
    else:
        assert max(main, other) <= one / 2 + 1


@pytest.mark.parametrize("name", NAMES)
def test_without_it_one_process_draws_while_the_other_does_not(came_of, name):
    main = came_of("spread", 2, 0)
    np.testing.assert_allclose(main[f"{name}_alone"], main[name], rtol=1e-4, atol=1e-5)
    assert f"{name}_alone" not in came_of("spread", 2, 1).files


def test_processes_that_ask_for_something_else_are_all_refused(came_of):
    for rank in (0, 1):
        assert "processes: got another n in some of them" in str(came_of("spread", 2, rank)["refused"])
    assert str(came_of("spread", 1, 0)["refused"]) == ""


def test_what_one_process_raises_ends_all_and_they_draw_on(came_of):
    one, main, other = (str(came_of("spread", *who)["refused_decode"]) for who in ((1, 0), (2, 0), (2, 1)))
    assert one.startswith("MemoryError: ")
    assert other == one
    assert main == f"ProcessFailed: process 1 of 2: {one}"
