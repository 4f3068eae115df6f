"""Gradients that save memory, on JAX."""

import jax
import jax.numpy as jnp
import keras


def backprop(parts, x, context, inverse, *, invert, tolerance, on_drift):
    """(y, log_det) of bijectors run one after another, whose backward pass runs each of them once more.

    Of all activations only the output is kept, from which each part's input is found by inversion, if
    `invert`; otherwise each part's input. `on_drift(error)` is called in the backward pass if the first
    input, found by inversion, has a relative error (in the Euclidean norm) above `tolerance`.
    """

    def forward(learned, fixed, x, context):
        inputs, total = [], jnp.zeros((), x.dtype)
        for part, *own in zip(parts, learned, fixed, strict=True):
            inputs.append(x)
            with _holding(part, *own):
                x, log_det = part.run(x, context, inverse=inverse)
            total = total + log_det
        return (x, total), [inputs[0], x] if invert else inputs

    @jax.custom_vjp
    def run(learned, fixed, x, context):
        return forward(learned, fixed, x, context)[0]

    def keep(learned, fixed, x, context):
        outputs, kept = forward(learned, fixed, x, context)
        return outputs, (learned, fixed, context, kept)

    def pull(residuals, grads):
        learned, fixed, context, kept = residuals
        shared, whole = _part(context)
        learned, shared, kept, (grad, log_det_grad) = _constant((learned, shared, kept, grads))
        learned_grads, shared_grads = [], jax.tree.map(jnp.zeros_like, shared)
        y, done = kept[-1], [grad]
        for i in reversed(range(len(parts))):
            part, zero = parts[i], _zero_after(done, y.dtype)
            known, own = (y if invert else kept[i]) + zero, [value + zero for value in learned[i]]

            def again(own, shared, start, part=part, known=known, constants=fixed[i]):
                with _holding(part, own, constants):
                    if invert:
                        x, z, log_det = part.rebuild(known, whole(shared), inverse=inverse, nudge=start)
                    else:
                        x, (z, log_det) = known, part.run(known + start, whole(shared), inverse=inverse)
                return (z, jnp.asarray(log_det, z.dtype)), x

            start = _zeros_before(part, known, inverse) if invert else jnp.zeros_like(known)
            (_, log_det), pull_part, y = jax.vjp(again, own, shared, start, has_aux=True)
            share = log_det_grad if log_det.shape else jnp.sum(log_det_grad)  # one number for all samples
            own_grads, more, grad = pull_part((grad, share))
            learned_grads.append(own_grads)
            shared_grads = jax.tree.map(jnp.add, shared_grads, more)
            done = [grad, *own_grads, *jax.tree.leaves(more)]
        if invert:
            _look(y, *kept, tolerance, on_drift)
        return learned_grads[::-1], None, grad, shared_grads

    run.defvjp(keep, pull)
    learned = [[variable.value for variable in part.trainable_variables] for part in parts]
    fixed = [[variable.value for variable in part.non_trainable_variables] for part in parts]
    return run(learned, fixed, x, context)


def _holding(part, learned, fixed):
    """A scope in which `part`'s variables have these values."""
    variables = (*part.trainable_variables, *part.non_trainable_variables)
    return keras.StatelessScope(list(zip(variables, (*learned, *fixed), strict=True)))


def _part(context):
    """What of `context` can have gradients, None in place of the rest; and a function from such to the whole."""

    def is_float(leaf):
        return jnp.issubdtype(leaf.dtype, jnp.inexact)

    def whole(shared):
        return jax.tree.map(
            lambda leaf, one: leaf if one is None else one, context, shared, is_leaf=lambda leaf: leaf is None
        )

    return jax.tree.map(lambda leaf: leaf if is_float(leaf) else None, context), whole


@jax.custom_jvp
def _constant(tensors):
    """`tensors` as they are, of which nothing may be derived: what is rebuilt from them counts as a constant."""
    return tensors


@_constant.defjvp
def _refuse(primals, tangents):
    raise NotImplementedError("no second derivatives through this chain: use backprop='stored'")


def _zero_after(done, dtype):
    """Zero, not known before the tensors of `done` are.

    Added to what a part reads. Otherwise XLA would do early what depends on that alone, or still have it from the
    forward pass, and keep the activations of all parts at once. Its optimization barriers are gone when it orders
    the operations; a product with zero, which may be NaN, it has to compute.
    """
    first = [jnp.sum(jnp.ravel(tensor)[:1]).astype(dtype) for tensor in done]
    return 0 * sum(first, jnp.zeros((), dtype))


def _zeros_before(part, y, inverse):
    """Zeros of the shape that `part` gave `y` for."""
    before = part.compute_output_shape if inverse else part.compute_inverse_shape
    return jnp.zeros(before(y.shape), y.dtype)


def _look(found, known, y, tolerance, on_drift):
    """Report drift, unless the numbers had broken before. The host hears of nothing else."""
    size = jnp.maximum(jnp.linalg.norm(jnp.ravel(known)), jnp.finfo(known.dtype).tiny)
    error = jnp.linalg.norm(jnp.ravel(found - known)) / size
    error = jnp.where(jnp.isfinite(jnp.sum(y)), error, 0)

    def report(error):
        if not error <= tolerance:  # `vmap` takes both branches
            on_drift(float(error))

    jax.lax.cond(error <= tolerance, lambda _: None, lambda e: jax.debug.callback(report, e), error)
