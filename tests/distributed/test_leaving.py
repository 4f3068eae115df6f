"""A process that leaves in order while another has something to do with all: it is told so, and does not wait."""

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


def test_who_leaves_before_the_others_are_done_ends_all(tmp_path, launch):
    group = launch(tmp_path, "-c", PROGRAM, engine=engine.name, CUDA_VISIBLE_DEVICES="")
    assert group.wait() == [1, 1]
    left = "process 1 of 2 has left the group, since its program came to an end or called flowkit.distributed.stop()"
    assert left in group.said(0)
    assert "process 0 of 2 has ended: process 1 ends too" in group.said(1)
