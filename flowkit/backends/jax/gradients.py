"""Gradients by JAX, compiled."""

import jax
import jax.numpy as jnp
import keras


def gradients(function, tensors):
    """The scalar `function(tensors)` and its gradient with respect to each tensor of the list."""
    return jax.value_and_grad(function)(list(tensors))


def compile_jacobian(function, layer):
    """A function (x, *args) -> d function(x)[i] / d x[i] for each sample i: (batch, outputs, inputs).

    It reads `layer`'s weights as they are at each call, and compiles once for each shape if the engine can.
    """

    @jax.jit
    def pure(values, x, *args):
        def one(row, *rest):
            with keras.StatelessScope(state_mapping=list(zip(layer.variables, values, strict=True))):
                return function(row[None], *jax.tree.map(lambda part: part[None], rest))[0].reshape(-1)

        return jax.vmap(jax.jacrev(one))(x, *args).reshape(x.shape[0], -1, x[0].size)

    def run(x, *args):
        return pure([v.value for v in layer.variables], jnp.asarray(x), *jax.tree.map(jnp.asarray, args))

    return run


def compile_gradients(function):
    """A function (tensors, *rest) -> the scalar `function(tensors, *rest)` and its gradients with respect to `tensors`.

    Compiled if the engine can.
    """
    compiled = jax.jit(
        lambda tensors, *rest: jax.value_and_grad(lambda given: function(given, *rest))(tensors)
    )
    return lambda tensors, *rest: compiled(list(tensors), *rest)
