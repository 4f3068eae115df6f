"""A process leaves in order while another one still exchanges something with all: both end with one line."""

import pytest

from flowkit import backends

pytestmark = pytest.mark.skipif(backends.name() not in ("torch", "jax"), reason="one process on this engine")

PROGRAM = """
from flowkit import distributed
distributed.start()
distributed.barrier()
if distributed.is_main():
    distributed.barrier()
"""


def test_a_process_that_leaves_early_ends_all(tmp_path, launch):
    group = launch(tmp_path, "-c", PROGRAM, engine=backends.name(), CUDA_VISIBLE_DEVICES="")
    assert group.wait() == [1, 1]
    left = "process 1 of 2 has left the group, since its program came to an end or called flowkit.distributed.stop()"
    for rank in (0, 1):
        assert f"flowkit: {left}" in group.said(rank)
