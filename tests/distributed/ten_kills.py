"""Ten times one of two processes is killed, at any moment: the flow is then that of an undisturbed run, bit for bit.

What starts them again is what users start: torchrun on PyTorch, `launch.sh` on JAX. Takes minutes, so `make check` asks
it and `make test` does not; there `test_two_against_one.py` kills once. KILLS_SEED=n draws the moments of another run
again, which has printed its n; how far training has come by then is the machine's business.
"""

import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from flowkit.engines import engine
from flowkit.training import read_log
from tests.distributed.launching import ROOT, SECONDS

KILLS, RESTARTS = 10, 15
MINUTE = 60  # within which the others end: it is what users are told, in docs/scaling.md, not what a machine can do
RANKS = ("RANK", "KERAS_DISTRIBUTION_PROCESS_ID")  # what torchrun and launch.sh say

RECIPE = """\
[model]
name = "glow"
levels = 2
steps = 1
width = 8

[data]
source = "digits"
limit = 512

[training]
epochs = 50  # more than the kills can use up
batch_size = 16
seed = 11
learning_rate = 2e-3
ema = 0.9
checkpoint_minutes = 0.02

[sampling]
count = 0
"""


class Supervised:
    """A group of two that something starts again when it breaks, and what it has said."""

    def __init__(self, folder):
        self.run, self.file, self.seen = folder / "run", folder / "said.txt", set()
        recipe = folder / "recipe.toml"
        recipe.write_text(RECIPE)
        train = ["-m", "flowkit", "train", recipe, "--out", self.run, "--resume"]
        again = ["--standalone", "--nproc-per-node", "2", "--max-restarts", RESTARTS]
        command = {
            "torch": [sys.executable, "-m", "torch.distributed.run", *again, *train],
            "jax": ["bash", ROOT / "backends/jax/launch.sh", recipe, self.run],
        }[engine.name]
        own = {
            "PROCESSES": "2",
            "MAX_RESTARTS": str(RESTARTS),
            "PYTHON": sys.executable,
            "PYTHONPATH": str(ROOT),
        }
        with open(self.file, "w") as said:
            self.process = subprocess.Popen(
                list(map(str, command)),
                env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""} | own,
                stdout=said,
                stderr=subprocess.STDOUT,
            )

    def ranks(self):
        """{rank: process id} of those that run now."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                try:
                    parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                    told = (entry / "environ").read_text().split("\0") if parent == self.process.pid else []
                except OSError:
                    continue  # it has ended meanwhile
                own = dict(line.partition("=")[::2] for line in told)
                found |= {int(own[name]): int(entry.name) for name in RANKS if name in own}
        return found

    def has(self, ranks):
        """Whether all of `ranks` still run."""
        return set(ranks.values()) <= set(self.ranks().values())

    def started(self):
        """{rank: process id} of the next two."""
        ranks = until(self._new, "the group did not start")
        self.seen |= set(ranks.values())
        return ranks

    def _new(self):
        assert self.process.poll() is None, f"it is over:\n{self.said()}"
        ranks = {rank: number for rank, number in self.ranks().items() if number not in self.seen}
        return ranks if len(ranks) == 2 else None

    def said(self):
        return self.file.read_text(errors="replace")

    def epochs(self):
        return len(read_log(self.run / "log.csv")) if (self.run / "log.csv").exists() else 0


def until(true, message):
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if answer := true():
            return answer
        time.sleep(0.02)
    pytest.fail(message)


@pytest.fixture
def supervised(tmp_path):
    started = []

    def start(name):
        (tmp_path / name).mkdir()
        started.append(Supervised(tmp_path / name))
        return started[-1]

    yield start
    for group in started:
        for number in (*group.ranks().values(), group.process.pid):
            if group.process.poll() is None:
                os.kill(number, signal.SIGKILL)


@pytest.mark.timeout(3600)  # each of ten restarts compiles: a minute or two on a busy machine
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="who is whose child is read from /proc")
def test_ten_kills_change_nothing(supervised):
    whole = supervised("whole")
    whole.started()
    begin = time.monotonic()
    until(lambda: (whole.run / "checkpoint.npz").exists(), whole.said())
    start_up = time.monotonic() - begin
    assert whole.process.wait(SECONDS) == 0, whole.said()
    print(f"\nundisturbed: {start_up:.1f} s to the first checkpoint, {time.monotonic() - begin:.1f} s in all")

    seed = int(os.environ.get("KILLS_SEED") or np.random.default_rng().integers(2**32))
    print(f"KILLS_SEED={seed}")
    draws = np.random.default_rng(seed)
    killed = supervised("killed")
    kills = 0
    while kills < KILLS:
        ranks, begun, before = killed.started(), time.monotonic(), killed.epochs()
        victim = int(draws.integers(2))
        # Half of them while it starts, if it takes as long as the first; the others some epochs later.
        latest = draws.uniform(0, start_up) if draws.integers(2) else SECONDS
        most = draws.integers(1, 4)
        while killed.has(ranks) and time.monotonic() - begun < latest and killed.epochs() < before + most:
            time.sleep(draws.uniform(0, 0.5))
        moment = time.monotonic() - begun
        if not killed.has(ranks):
            assert killed.process.poll() is None, f"it was over before {KILLS} kills:\n{killed.said()}"
            print(f"one that did not come up, and was started again: {killed.said().splitlines()[-1][:300]}")
            continue
        kills += 1
        read, epochs = len(killed.said()), killed.epochs()
        os.kill(ranks[victim], signal.SIGKILL)
        died = time.monotonic()
        until(lambda ranks=ranks: ranks[1 - victim] not in killed.ranks().values(), killed.said())  # noqa: B023
        took = time.monotonic() - died
        assert took < MINUTE
        until(lambda victim=victim, read=read: _names(victim, killed.said()[read:]), killed.said())
        place = f"process {victim} after {moment:.1f} s, epochs done: {epochs}"
        print(f"kill {kills}: {place}; the other ended {took:.1f} s later")
    assert killed.process.wait(SECONDS) == 0, killed.said()
    assert killed.epochs() == whole.epochs()
    assert _weights(killed.run) == _weights(whole.run)


def _weights(run):
    with zipfile.ZipFile(run / "flow.keras") as file:
        return file.read("model.weights.h5")


def _names(victim, said):
    """Whether somebody has said that it was this one: the process that is left, or what has started both."""
    lines = (f"process {victim} of 2 has ended", f"local_rank: {victim} (pid")
    return any(line in said for line in lines)
