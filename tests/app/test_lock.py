"""Two processes do not train into one folder, and one that was killed keeps nobody out."""

import os
import signal
import subprocess
import sys

import pytest

from flowkit.app import run_folder
from flowkit.app.failure import CommandError
from flowkit.app.run_folder import RunFolder

pytestmark = [
    pytest.mark.skipif(run_folder.fcntl is None, reason="no fcntl on this system"),
    pytest.mark.one_engine,
]

HOLDER = """
import fcntl, os, sys
fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that trains into `tmp_path / "run"`, until its standard input ends."""
    (tmp_path / "run").mkdir()
    arguments = [sys.executable, "-c", HOLDER, str(tmp_path / "run")]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_process_is_refused(tmp_path, holder):
    with pytest.raises(CommandError, match="run: another process is training into this folder"):
        RunFolder(tmp_path / "run").held().__enter__()


@pytest.mark.long
def test_one_that_was_killed_keeps_nobody_out(tmp_path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with RunFolder(tmp_path / "run").held():
        pass


def test_the_lock_leaves_no_file_and_may_be_taken_again(tmp_path):
    for _ in range(2):
        with RunFolder(tmp_path / "runs" / "a").held():
            pass
    assert [path.name for path in tmp_path.rglob("*")] == ["runs", "a"]
