"""flowkit on a device that is not the CPU: all of `inside/`, in a process where there is such a device."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flowkit.engines import engine

HERE = Path(__file__).parent

SESSION = """
import sys
import pretend_card
pretend_card.install()
import pytest
sys.exit(pytest.main(sys.argv[1:]))
"""


@pytest.mark.skipif(engine.name != "torch", reason="the card is a device of torch's")
@pytest.mark.long
def test_what_runs_inside():
    import pretend_card  # which imports torch

    if reason := pretend_card.missing():
        pytest.skip(reason)
    paths = [str(HERE), str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {
        "FLOWKIT_ON_A_CARD": "1",
        "KERAS_BACKEND": "torch",
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }
    done = subprocess.run(
        [sys.executable, "-c", SESSION, HERE / "inside", "-p", "no:cacheprovider"],
        env=environment,
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
