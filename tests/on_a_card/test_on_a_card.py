"""flowkit on a device that is not the CPU: all of `inside/`, in a process where there is such a device."""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent

SESSION = """
import sys
import pretend_card
pretend_card.install()
import pytest
sys.exit(pytest.main(sys.argv[1:]))
"""


def test_what_runs_inside():
    paths = [str(HERE), str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-c", SESSION, HERE / "inside", "-p", "no:cacheprovider"],
        env=environment | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "KERAS_BACKEND": "torch"},
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
