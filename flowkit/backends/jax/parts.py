"""Parts of a chain that are compiled once for all that are alike, on JAX."""

import jax
import jax.numpy as jnp

from flowkit.backends.any.parts import compiling_parts, run_part  # noqa: F401  (a whole step is compiled)


def scans():
    """Whether `scan` compiles one copy for all of them."""
    # Not on CPU, where XLA runs convolutions inside a loop forty times slower.
    return jax.default_backend() != "cpu"


def scan(step, x, stacked, reverse):
    """Apply `step(x, row)`, which returns (x, log-det), to each row of a nest of tensors: (x, sum of log-dets)."""

    def body(x, row):
        y, log_det = step(x, row)
        return y, jnp.asarray(log_det, x.dtype)

    y, log_dets = jax.lax.scan(body, x, stacked, reverse=reverse)
    return y, jnp.sum(log_dets, axis=0)
