"""Triangular systems of all copies of a block at once."""

import os
import subprocess
import sys

import numpy as np
import pytest
from keras import ops

from flowkit.engines import engine

# Two calls of jaxlib 0.10 that share their systems among threads wait for each other forever on two cores.
AT_ONCE = """
import flowkit
import jax, jax.numpy as jnp, numpy as np
from flowkit.engines import engine
rng = np.random.default_rng(0)
systems = [jnp.asarray(2 * np.eye(48) + 0.1 * np.tril(rng.normal(size=(32, 48, 48)))) for _ in range(6)]
ones = jnp.broadcast_to(jnp.eye(48), (32, 48, 48))
program = jax.jit(lambda some: sum(engine.solve_triangular(one, ones, lower=True).sum() for one in some))
for _ in range(300):
    program(systems).block_until_ready()
print("ended")
"""


@pytest.mark.parametrize("lower", [True, False])
def test_each_system_is_solved(lower):
    rng = np.random.default_rng(0)
    a = np.tril(rng.normal(size=(2, 3, 4, 4))) + 4 * np.eye(4)
    a = (a if lower else np.swapaxes(a, -1, -2)).astype("float32")
    b = rng.normal(size=(2, 3, 4, 5)).astype("float32")
    found = engine.solve_triangular(ops.convert_to_tensor(a), ops.convert_to_tensor(b), lower)
    np.testing.assert_allclose(ops.convert_to_numpy(found), np.linalg.solve(a, b), rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(engine.name != "jax", reason="asks JAX's own threads")
def test_systems_that_are_solved_at_once_end():
    usual = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    command = [sys.executable, "-c", AT_ONCE]
    done = subprocess.run(command, env=usual, capture_output=True, text=True, timeout=120)
    assert "ended" in done.stdout, done.stderr
