"""A small launcher: processes of one program, with a time-out, so that nothing hangs.

All are forks of one process that has imported flowkit, which takes longer than most of what they do.
"""

import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCENARIOS = Path(__file__).with_name("scenarios.py")
SECONDS = 600  # after which a process is killed: what is tested takes a tenth of it

# Reads what to start from its input. Writes the process numbers, and the rank and exit code of each that has ended.
PARENT = """
import json, os, runpy, sys
import flowkit.app, flowkit.training

def fork(given):
    for rank, environment in enumerate(given["environments"]):
        if not (number := os.fork()):
            os.chdir(given["folder"])
            os.environ.update(environment)
            said = os.open(f"said-{rank}.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            for target, file in enumerate((os.open(os.devnull, os.O_RDONLY), said, said)):
                os.dup2(file, target)
            return given["arguments"]
        children[number] = rank
    print(json.dumps(list(children)), flush=True)

children, arguments = {}, None
while arguments is None and (line := sys.stdin.readline()):
    arguments = fork(json.loads(line))
    while children and arguments is None:
        number, status = os.wait()
        print(json.dumps([children.pop(number), os.waitstatus_to_exitcode(status)]), flush=True)
if arguments and arguments[0] == "-c":
    exec(arguments[1])
elif arguments:
    sys.argv = arguments
    runpy.run_path(arguments[0], run_name="__main__")
"""


class Launcher:
    """The process whose forks are the processes of all groups, one group after another."""

    def __init__(self, engine):
        own = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])),
            "KERAS_BACKEND": engine,
            "CUDA_VISIBLE_DEVICES": "",
            "OMP_NUM_THREADS": "1",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        self.parent = subprocess.Popen(
            [sys.executable, "-c", PARENT], env=own, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.answers = queue.Queue()
        threading.Thread(
            target=lambda: [self.answers.put(line) for line in self.parent.stdout], daemon=True
        ).start()

    def start(self, folder, *arguments, count=2, **environment):
        """Start `count` processes of `python ARGUMENTS` in a folder: a `Group`."""
        return Group(self, folder, arguments, count, environment)

    def ask(self, given):
        self.parent.stdin.write(json.dumps(given) + "\n")
        self.parent.stdin.flush()
        return self.answer(time.monotonic() + SECONDS)

    def answer(self, end):
        return json.loads(self.answers.get(timeout=max(0.1, end - time.monotonic())))

    def end(self):
        self.parent.kill()
        self.parent.wait()


class Group:
    """Processes that run `python ARGUMENTS`, told by the environment how many they are. Their words go to files."""

    def __init__(self, launcher, folder, arguments, count, environment):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.launcher = launcher
        self.files = [folder / f"said-{rank}.txt" for rank in range(count)]
        environments = [dict(environment) for _ in range(count)]
        for rank, own in enumerate(environments if count > 1 else ()):
            own |= {
                "KERAS_DISTRIBUTION_JOB_ADDRESSES": f"127.0.0.1:{port}",
                "KERAS_DISTRIBUTION_NUM_PROCESSES": str(count),
                "KERAS_DISTRIBUTION_PROCESS_ID": str(rank),
            }
        arguments = [str(argument) for argument in arguments]
        self.numbers = launcher.ask(
            {"folder": str(folder), "environments": environments, "arguments": arguments}
        )
        self.codes = {}

    def wait(self, ranks=None):
        """Exit codes, in the order of the ranks; all others are killed."""
        ranks, end = range(len(self.numbers)) if ranks is None else ranks, time.monotonic() + SECONDS
        try:
            while not self.codes.keys() >= set(ranks):
                rank, code = self.launcher.answer(end)
                self.codes[rank] = code
            return [self.codes[rank] for rank in ranks]
        finally:
            self.kill()

    def kill(self):
        for rank, number in enumerate(self.numbers):
            if rank not in self.codes:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)
        while len(self.codes) < len(self.numbers):
            rank, code = self.launcher.answer(time.monotonic() + SECONDS)
            self.codes[rank] = code

    def said(self, rank):
        return self.files[rank].read_text()
