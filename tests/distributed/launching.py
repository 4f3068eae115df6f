"""A small launcher: processes of one program, with a time-out, so that nothing hangs."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCENARIOS = Path(__file__).with_name("scenarios.py")
SECONDS = 600  # after which a process is killed: what is tested takes a tenth of it


class Group:
    """Processes that run `python ARGUMENTS`, told by the environment how many they are. Their words go to files."""

    def __init__(self, folder, arguments, count, engine, environment):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.files = [folder / f"said-{rank}.txt" for rank in range(count)]
        self.processes = []
        for rank, file in enumerate(self.files):
            own = {
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])),
                "KERAS_BACKEND": engine,
                "OMP_NUM_THREADS": "1",
                "TF_CPP_MIN_LOG_LEVEL": "3",
                **environment,
            }
            if count > 1:
                own |= {
                    "KERAS_DISTRIBUTION_JOB_ADDRESSES": f"127.0.0.1:{port}",
                    "KERAS_DISTRIBUTION_NUM_PROCESSES": str(count),
                    "KERAS_DISTRIBUTION_PROCESS_ID": str(rank),
                }
            with open(file, "w") as said:
                command = [sys.executable, *map(str, arguments)]
                self.processes.append(
                    subprocess.Popen(command, env=own, stdout=said, stderr=subprocess.STDOUT, cwd=folder)
                )

    def wait(self):
        """Exit codes, in the order of the ranks."""
        end = time.monotonic() + SECONDS
        try:
            return [process.wait(max(0.1, end - time.monotonic())) for process in self.processes]
        finally:
            self.kill()

    def kill(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()

    def said(self, rank):
        return self.files[rank].read_text()
