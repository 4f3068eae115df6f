"""A process leaves in order while another one still exchanges something with all: both end."""

import signal

import pytest

from flowkit.engines import engine

pytestmark = pytest.mark.skipif(engine.name not in ("torch", "jax"), reason="one process on this engine")

PROGRAM = """
from flowkit import distributed
distributed.start()
distributed.barrier()
if distributed.is_main():
    distributed.barrier()
"""


def test_a_process_that_leaves_early_ends_all(tmp_path, launch):
    group = launch(tmp_path, "-c", PROGRAM)
    assert group.wait() == [1, 1]
    left = "process 1 of 2 has left the group, since its program came to an end or called flowkit.distributed.stop()"
    for rank in (0, 1):
        assert f"ProcessLost: {left}" in group.said(rank)


QUICK = {
    "torch": "from flowkit.engines import torch_group as group; group._SILENCE = 5.0",
    "jax": "from flowkit.engines import jax as group; group._HEARTBEAT = 10",
}
PROGRAM_THAT_STOPS = """
import os, signal
from flowkit import distributed
{quick}
distributed.start()
distributed.barrier()
if distributed.rank():
    os.kill(os.getpid(), signal.SIGSTOP)
distributed.barrier()
"""


@pytest.mark.long
def test_a_stopped_process_ends_the_other(tmp_path, launch):
    group = launch(tmp_path, "-c", PROGRAM_THAT_STOPS.format(quick=QUICK[engine.name]))
    (code,) = group.wait([0])
    if engine.name == "torch":
        assert code == 1
        assert "flowkit: another process of the group does not answer" in group.said(0)
    else:
        assert code == -signal.SIGABRT  # JAX's own end
        assert "Terminating process because the JAX distributed service" in group.said(0)
