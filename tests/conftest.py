"""Seeds, weights off their start, a few lines on another engine, and which of many cases every engine is asked."""

import gc
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import flowkit  # noqa: F401  (chooses the engine, so it comes before Keras)

# isort: split
import keras
import numpy as np
import pytest

from flowkit.engines import sparing_tensorflow
from tests.engines_asked import mark_engines

ROOT = Path(__file__).parents[1]
MAPS, MANY_MAPS = Path("/proc/self/maps"), 20_000  # pieces of this process's memory, a line each

pytest_plugins = ["flowkit_pytest"]  # an installed flowkit brings it by itself

# Hides packages as if they were not installed: find_spec answers None, an import fails.
_HIDE = """\
import sys
from importlib.machinery import PathFinder
class _Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] in {hidden!r}:
            return None
        return super().find_spec(name, path, target)
sys.meta_path[:] = [_Without if finder is PathFinder else finder for finder in sys.meta_path]
"""


@pytest.hookimpl(tryfirst=True)  # before pytest takes the marks that were asked for
def pytest_collection_modifyitems(items):
    mark_engines(items)


@pytest.fixture(autouse=True)
def _seeded():
    with sparing_tensorflow():  # Keras would import it for the seed, which takes seconds
        keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def _few_programs():
    """Forget JAX's compiled programs when there are many: each maps memory, and Linux allows 65,530 maps a process."""
    yield
    if keras.backend.backend() == "jax" and MAPS.exists() and MAPS.read_bytes().count(b"\n") > MANY_MAPS:
        import jax

        gc.collect()
        jax.clear_caches()


@pytest.fixture
def policy():
    """Set Keras's global dtype policy for one test."""
    before = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(before)


@pytest.fixture(scope="session")
def run_python():
    """Run source in a new process on `engine` (None: `KERAS_BACKEND` unset), with packages hidden."""

    def run(source, *, engine=None, hidden=(), args=()):
        environment = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"}
        paths = [str(ROOT), environment.get("PYTHONPATH", "")]
        environment |= {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "TF_CPP_MIN_LOG_LEVEL": "3"}
        if engine is not None:
            environment["KERAS_BACKEND"] = engine
        code = _HIDE.format(hidden=tuple(hidden)) + textwrap.dedent(source)
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, args)], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return done.stdout.strip()

    return run


@pytest.fixture(scope="session")
def perturb():
    """Move every weight off its start, as if trained, and count the layer as adapted. Returns the layer."""

    def move(layer, scale=0.1, seed=0):
        rng = np.random.default_rng(seed)
        for weight in layer.weights:
            if weight.name.endswith("adapted"):
                weight.assign(np.ones(weight.shape, "bool"))
            elif weight.trainable:
                noise = rng.normal(0, scale, tuple(weight.shape)).astype("float32")
                weight.assign(keras.ops.convert_to_numpy(weight) + noise)
        return layer

    return move


@pytest.fixture(scope="session")
def images():
    return np.random.default_rng(1).integers(0, 256, (16, 8, 8, 1), dtype="uint8")


@pytest.fixture(scope="session")
def labels():
    return np.arange(16) % 3


@pytest.fixture
def most_bytes(monkeypatch):
    """A function that sets the bytes that data of a file may take."""
    from flowkit.data import bounded

    return lambda most: monkeypatch.setattr(bounded, "most_bytes", lambda: most)
