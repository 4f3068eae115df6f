"""Groups of processes, and what came of the scenarios in one process and in two."""

import fcntl
import os

import numpy as np
import pytest

from flowkit import backends
from tests.distributed.launching import SCENARIOS, Group


@pytest.fixture(scope="session")
def launch():
    """Start `count` processes of `python ARGUMENTS` in a folder: a `Group`."""
    groups = []

    def start(folder, *arguments, count=2, engine, **environment):
        groups.append(Group(folder, arguments, count, engine, environment))
        return groups[-1]

    yield start
    for group in groups:
        group.kill()


@pytest.fixture(scope="session")
def scenarios(tmp_path_factory, launch):
    """{number of processes: the folder that the scenarios have filled}: run once, for all workers of pytest."""
    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent
    folders = {count: place / f"scenarios-by-{count}" for count in (1, 2)}
    with open(place / "scenarios.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for count, folder in folders.items():
            if not folder.exists():
                folder.mkdir()
                own = {"CUDA_VISIBLE_DEVICES": ""}
                codes = launch(folder, SCENARIOS, folder, count=count, engine=backends.name(), **own).wait()
                (folder / "codes.txt").write_text(str(codes))
            said = "\n".join((folder / f"said-{rank}.txt").read_text()[-3000:] for rank in range(count))
            assert (folder / "codes.txt").read_text() == str([0] * count), said
    return folders


@pytest.fixture(scope="session")
def came_of(scenarios):
    """(name, number of processes, rank) -> what a scenario has written."""
    return lambda name, count, rank: np.load(scenarios[count] / f"{name}-{rank}.npz")
