"""What the commands do to the C library's memory."""

import subprocess
import sys

import pytest

SOURCE = """
import os, sys
import numpy as np
from flowkit.app.backend import keep_freed_memory

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

if sys.argv[1] == "keep":
    keep_freed_memory()
before = resident()
array = np.ones(2**24)  # 128 MiB
del array
print((resident() - before) / 2**27)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it is about glibc, on Linux")
def test_freed_memory_is_kept():
    kept, given_back = (
        float(subprocess.run([sys.executable, "-c", SOURCE, how], capture_output=True, check=True).stdout)
        for how in ("keep", "leave")
    )
    assert kept > 0.9
    assert given_back < 0.1
