"""Python in a process of its own, for an engine: a process can have one only."""

import os
import subprocess
import sys


def run_on(engine, source, arguments, path):
    """The finished process that ran `source` with `arguments` on `engine`; `path` is where it looks for modules."""
    environment = {**os.environ, "KERAS_BACKEND": engine, "PYTHONPATH": os.pathsep.join(dict.fromkeys(path))}
    source = f"from flowkit import backends; backends.spare_tensorflow(); {source}"
    command = [sys.executable, "-c", source, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
