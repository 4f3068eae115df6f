import os
import signal
import subprocess
import sys

import pytest

from flowkit.training import atomic
from flowkit.training.atomic import atomic_path, remove_leftovers

pytestmark = pytest.mark.one_engine


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write_half():
        with atomic_path(path) as temporary:
            temporary.write_text("ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_new_file_is_readable_as_others_are(tmp_path):
    with atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("a")
    (tmp_path / "b.txt").write_text("b")
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "b.txt").stat().st_mode


KILLED_WHILE_WRITING = """
import os, runpy, signal, sys
atomic_path = runpy.run_path(sys.argv[2])["atomic_path"]  # without the rest of flowkit, which takes seconds to import
with atomic_path(sys.argv[1]) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_kill_leaves_the_old_file_whole_and_leftovers_can_go(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    command = [sys.executable, "-c", KILLED_WHILE_WRITING, str(path), atomic.__file__]
    done = subprocess.run(command, check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    assert len(os.listdir(tmp_path)) == 2
    remove_leftovers(tmp_path, path.name)
    assert os.listdir(tmp_path) == ["a.txt"]
