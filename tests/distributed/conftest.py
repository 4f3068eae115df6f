"""Groups of processes, and what came of the scenarios in one process and in two."""

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
def came_of(tmp_path_factory, launch):
    """(name, number of processes, rank) -> what a scenario has written."""
    folders = {}
    for count in (1, 2):
        folders[count] = tmp_path_factory.mktemp(f"by-{count}")
        group = launch(folders[count], SCENARIOS, folders[count], count=count, engine=backends.name())
        codes = group.wait()
        assert codes == [0] * count, "\n".join(group.said(rank)[-3000:] for rank in range(count))
    return lambda name, count, rank: np.load(folders[count] / f"{name}-{rank}.npz")
