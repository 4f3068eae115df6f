"""Parts of a chain that are compiled once for all that are alike, on JAX."""

import jax
import jax.numpy as jnp
import keras

from flowkit.backends.any.parts import compiling_parts, run_part  # noqa: F401  (a whole step is compiled)


def scans():
    """Whether `scan` compiles one block for all of them."""
    # Not on CPU, where XLA runs convolutions inside a loop forty times slower.
    return jax.default_backend() != "cpu"


def scan(run, blocks, x, context, inverse):
    """`run(parts, x, context, inverse)` of all blocks' parts; blocks are alike but for their weights: (y, log_det)."""
    variables = [[variable for part in block for variable in part.variables] for block in blocks]

    def body(x, own):
        with keras.StatelessScope(list(zip(variables[0], own, strict=True))):
            y, log_det = run(blocks[0], x, context, inverse)
        return y, jnp.asarray(log_det, x.dtype)

    def keeps_shape():
        y, _ = jax.eval_shape(body, x, [variable.value for variable in variables[0]])
        return (y.shape, y.dtype) == (x.shape, x.dtype)

    if len(blocks) == 1 or not keeps_shape():
        return run([part for block in blocks for part in block], x, context, inverse)
    stacked = [jnp.stack([variable.value for variable in alike]) for alike in zip(*variables, strict=True)]
    y, log_dets = jax.lax.scan(body, x, stacked, reverse=inverse)
    return y, jnp.sum(log_dets, axis=0)
