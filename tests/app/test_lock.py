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
import fcntl, sys
file = open(sys.argv[1], "a+")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that trains into `tmp_path / "run"`, until its standard input ends."""
    (tmp_path / "run").mkdir()
    arguments = [sys.executable, "-c", HOLDER, str(tmp_path / "run" / ".lock")]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_process_is_refused(tmp_path, holder):
    with pytest.raises(CommandError, match="run: another process is training into this folder"):
        RunFolder(tmp_path / "run").held().__enter__()
    assert (tmp_path / "run" / ".lock").exists()  # the first one's, still


@pytest.mark.long
def test_one_that_was_killed_keeps_nobody_out(tmp_path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "run" / ".lock").exists()
    with RunFolder(tmp_path / "run").held():
        pass


def test_one_that_has_ended_leaves_nothing(tmp_path):
    with RunFolder(tmp_path / "runs" / "a").held():
        pass
    assert list(tmp_path.iterdir()) == []
    with RunFolder(tmp_path / "runs" / "a").held():
        (tmp_path / "runs" / "a" / "log.csv").touch()
    assert [path.name for path in (tmp_path / "runs" / "a").iterdir()] == ["log.csv"]


def test_a_file_that_was_removed_meanwhile_is_no_lock(tmp_path):
    """Its last owner unlinked it after we had opened it: a third process could lock the next one."""
    path = tmp_path / ".lock"
    with open(path, "w") as file:
        path.unlink()
        assert not run_folder._lock(file, path)
        path.touch()
        assert not run_folder._lock(file, path)
    with open(path, "w") as file:
        assert run_folder._lock(file, path)


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_link_in_its_place_leaves_what_it_leads_to_as_it_was(tmp_path, link):
    precious = tmp_path / "precious.txt"
    precious.write_text("precious")
    run = tmp_path / "run"
    run.mkdir()
    link(precious, run / ".lock")
    with RunFolder(run).held():
        assert precious.read_text() == "precious"
    assert precious.read_text() == "precious"
