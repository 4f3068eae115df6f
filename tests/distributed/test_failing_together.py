"""An error of one process reaches those that wait, whichever of their questions it meets: asked of three threads."""

import numpy as np
import pytest

from flowkit.app import failure
from flowkit.app.failure import on_main, together
from flowkit.distributed import ProcessFailed, ProcessLost, gather
from flowkit.distributed.failed import failing_together
from flowkit.engines import engine


@pytest.fixture
def group(in_threads):
    """`function(rank)` in three processes, which are then still together: what each returns or raises."""

    def run(function):
        def one(rank):
            try:
                came = function(rank)
            except Exception as error:
                came = error
            return came, gather(np.array([rank])).tolist()

        came, after = zip(*in_threads(one), strict=True)
        assert after == ([0, 1, 2],) * 3  # nobody is a question ahead
        return list(came)

    return run


def broken(when):
    raise ValueError(f"broken {when}")


@pytest.mark.parametrize("when", ["before", "between", "after", "inside"])
def test_whenever_one_fails_all_end(group, when):
    def work(rank):
        with failing_together():
            for place in ("before", "between", "after"):
                if when == place and rank == 1:
                    broken(when)
                if place != "after":
                    gather(np.zeros(2))
            with failing_together():
                if rank == 1:
                    broken(when)
        return "not reached"

    first, own, last = group(work)
    assert type(own) is ValueError
    for other in (first, last):
        assert type(other) is ProcessFailed
        assert str(other) == f"process 1 of 3: ValueError: broken {when}"


def test_what_all_raise_each_says_itself(group):
    def work(rank):
        with failing_together():
            raise KeyError(rank)

    assert [type(error) for error in group(work)] == [KeyError] * 3


def test_a_lost_process_is_told_nothing(monkeypatch):
    monkeypatch.setattr(engine, "processes", lambda: 2)
    monkeypatch.setattr(engine, "exchange", lambda data: pytest.fail("nobody is there"))
    with pytest.raises(ProcessLost), failing_together():
        raise ProcessLost("gone")


@pytest.mark.parametrize("failing", [{1}, {0, 2}, {0, 1, 2}])
def test_the_main_process_has_the_word_of_a_command(group, failing):
    def work(rank):
        with together():
            return FileNotFoundError if rank not in failing else open(f"/nowhere/{rank}")

    came = group(work)
    lacks = "No such file or directory"
    said = f"/nowhere/0: {lacks}" if 0 in failing else f"process 1 of 3: /nowhere/1: {lacks}"
    assert failure.words(came[0])[0] == said
    assert [failure.words(error)[1] for error in came] == [2, 2, 2]
    assert all(error.told_to_all for error in came)


def test_what_the_main_process_alone_does_ends_all(group):
    asked = []

    def work(rank):
        on_main(lambda: asked.append(rank) or broken("there"))

    came = group(work)
    assert failure.words(came[0]) == ("broken there", 2)
    assert all(error.told_to_all for error in came)
    assert asked == [0]
