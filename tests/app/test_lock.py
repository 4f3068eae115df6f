"""Two processes do not train into one folder, and one that was killed keeps nobody out."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from flowkit.app import lock
from flowkit.app.failure import CommandError

pytestmark = [
    pytest.mark.skipif(lock.fcntl is None, reason="no fcntl on this system"),
    pytest.mark.one_engine,
]

HOLDER = """
import sys, pathlib
from flowkit.app import lock
with lock.held(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that trains into `tmp_path / "run"`, until its standard input ends."""
    arguments = [sys.executable, "-c", HOLDER, str(tmp_path / "run")]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_process_is_refused_and_told_who_is_first(tmp_path, holder):
    with pytest.raises(CommandError, match=rf"run: process {holder.pid} on .* is training into this folder"):
        lock.held(tmp_path / "run").__enter__()
    assert (tmp_path / "run" / lock.NAME).exists()  # the first one's, still


@pytest.mark.long
def test_one_that_was_killed_keeps_nobody_out(tmp_path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "run" / lock.NAME).exists()
    with lock.held(tmp_path / "run"):
        pass


def test_one_that_has_ended_leaves_nothing(tmp_path):
    with lock.held(tmp_path / "runs" / "a"):
        pass
    assert list(tmp_path.iterdir()) == []
    with lock.held(tmp_path / "runs" / "a"):
        (tmp_path / "runs" / "a" / "log.csv").touch()
    assert [path.name for path in (tmp_path / "runs" / "a").iterdir()] == ["log.csv"]


def test_a_file_that_was_removed_meanwhile_is_no_lock(tmp_path):
    """Its last owner unlinked it after we had opened it: a third process could lock the next one."""
    path = tmp_path / lock.NAME
    with open(path, "w") as file:
        path.unlink()
        assert not lock._lock(file, path)
        path.touch()
        assert not lock._lock(file, path)
    with open(path, "w") as file:
        assert lock._lock(file, path)


@pytest.mark.parametrize("link", [os.symlink, os.link, lambda target, path: os.mkfifo(path)])
def test_a_link_in_its_place_is_refused_and_what_it_leads_to_is_as_it_was(tmp_path, link):
    precious = tmp_path / "precious.txt"
    precious.write_text("precious")
    run = tmp_path / "run"
    run.mkdir()
    link(precious, run / lock.NAME)
    with pytest.raises(OSError, match="own, found a link") as error:
        lock.held(run).__enter__()
    assert error.value.errno == errno.ELOOP
    assert precious.read_text() == "precious"
