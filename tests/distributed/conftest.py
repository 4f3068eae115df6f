"""Groups of processes, and what came of the scenarios in one process and in two."""

import fcntl
import os
import signal
import threading

import numpy as np
import pytest

from flowkit.engines import engine
from tests.distributed.launching import SCENARIOS, Launcher


@pytest.fixture(scope="session")
def launch():
    """Start `count` processes of `python ARGUMENTS` in a folder: a `Group`."""
    launcher = Launcher(engine.name)
    yield launcher.start
    launcher.end()


@pytest.fixture(scope="session")
def scenarios(tmp_path_factory, launch):
    """{number of processes: the folder that the scenarios have filled, "dead": that of two of which one was killed}.

    They run once, for all workers of pytest. Starting a process takes longer than most of what it does here.
    """
    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent
    folders = {1: place / "scenarios-by-1", "dead": place / "dead", 2: place / "scenarios-by-2"}
    own = {"GIVEN": str(folders[1]), "DEAD": str(folders["dead"])}
    with open(place / "scenarios.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for key, folder in folders.items():
            count, killed = (2, key == "dead") if key != 1 else (1, False)
            if not folder.exists():
                folder.mkdir()
                die = {"DIE": "7"} if killed else {}  # in the second epoch
                names = ["again"] if killed else []
                group = launch(folder, SCENARIOS, folder, *names, count=count, **own, **die)
                (folder / "codes.txt").write_text(str(group.wait()))
            said = "\n".join((folder / f"said-{rank}.txt").read_text()[-3000:] for rank in range(count))
            expected = [1, -signal.SIGKILL] if killed else [0] * count
            assert (folder / "codes.txt").read_text() == str(expected), said
    return folders


@pytest.fixture(scope="session")
def came_of(scenarios):
    """(name, number of processes, rank) -> what a scenario has written."""
    return lambda name, count, rank: np.load(scenarios[count] / f"{name}-{rank}.npz")


@pytest.fixture
def in_threads(monkeypatch):
    """`function(rank)` in three threads that hand each other messages as processes do: what each returns or raises."""
    own, given, meet = threading.local(), [b""] * 3, threading.Barrier(3, timeout=60)

    def exchange(data):
        given[own.rank] = data
        meet.wait()
        all_of_them = list(given)
        meet.wait()
        return all_of_them

    monkeypatch.setattr(engine, "exchange", exchange)
    monkeypatch.setattr(engine, "processes", lambda: 3)
    monkeypatch.setattr(engine, "process_rank", lambda: own.rank)

    def run(function):
        came = [None] * 3

        def one(rank):
            own.rank = rank
            try:
                came[rank] = function(rank)
            except Exception as error:
                came[rank] = error

        threads = [threading.Thread(target=one, args=(rank,)) for rank in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return came

    return run
