"""Gradients that save memory, on JAX."""

import functools
import sys

import jax
import jax.numpy as jnp
import keras

from flowkit.engines.steps import one_by_one


def backprop(stretches, x, context, inverse, *, invert, tolerance, on_drift, loops):
    """See `Engine.backprop`. With `loops` the copies of a stretch are compiled once for all, in both passes."""
    runs = []
    for stretch in stretches()[:: -1 if inverse else 1]:
        # Outside of what is compiled, a loop would compile in each call.
        looped = loops or (stretch.looped and isinstance(jnp.zeros(()), jax.core.Tracer))
        if stretch.n is not None and looped:
            runs.append(_Loop(stretch, inverse))
        else:
            runs.append(_Block(one_by_one([stretch], inverse, jnp.unstack)))

    def forward(learned, fixed, x, context):
        first, total, kept = x, jnp.zeros((), x.dtype), []
        for run, *own in zip(runs, learned, fixed, strict=True):
            x, log_det, inputs = run.forward(*own, x, context, inverse)
            total = total + log_det
            kept.append(None if invert else inputs)
        return (x, total), (first, x, kept)

    @jax.custom_vjp
    def whole(learned, fixed, x, context):
        return forward(learned, fixed, x, context)[0]

    def keep(learned, fixed, x, context):
        outputs, kept = forward(learned, fixed, x, context)
        if not invert:
            kept = (None, None, kept[2])
        return outputs, (learned, fixed, context, kept)

    def pull(residuals, grads):
        learned, fixed, context, kept = residuals
        shared, entire = _part(context)
        learned, shared, (first, y, kept), (grad, log_det_grad) = _constant((learned, shared, kept, grads))
        last, learned_grads, shared_grads = y, [], jax.tree.map(jnp.zeros_like, shared)
        pull_block = functools.partial(
            _pull_block, log_det_grad=log_det_grad, shared=shared, entire=entire, inverse=inverse
        )
        for run, own, constants, inputs in reversed(list(zip(runs, learned, fixed, kept, strict=True))):
            (y, grad, shared_grads), own_grads = run.pull(
                pull_block, (y, grad, shared_grads), own, constants, inputs
            )
            learned_grads.append(own_grads)
        if invert:
            _look(y, first, last, tolerance, on_drift)
        return learned_grads[::-1], None, grad, shared_grads

    whole.defvjp(keep, pull)
    return whole([run.values(True) for run in runs], [run.values(False) for run in runs], x, context)


class _Block:
    """Steps one after another: parts, the variables of each, and the values that these have."""

    def __init__(self, steps):
        self.parts, self.variables, self.own = map(list, zip(*steps, strict=True))

    def values(self, learned):
        """Return the values of the variables that have gradients, or of the others."""
        return [
            [value for variable, value in zip(some, own, strict=True) if _is_learned(variable) == learned]
            for some, own in zip(self.variables, self.own, strict=True)
        ]

    def forward(self, learned, fixed, x, context, inverse):
        """Return (y, log_det, the input of each part)."""
        inputs, total = [], jnp.zeros((), x.dtype)
        for part, variables, *own in zip(self.parts, self.variables, learned, fixed, strict=True):
            inputs.append(x)
            with _holding(variables, *own):
                x, log_det = part.run(x, context, inverse=inverse)
            total = total + log_det
        return x, total, inputs

    def pull(self, pull_block, state, learned, fixed, inputs):
        """Return (state, gradients of `learned`) by `pull_block`."""
        return pull_block(self.parts, self.variables, state, learned, fixed, inputs)


class _Loop(_Block):
    """The copies of a stretch, whose values are stacked: one step of a loop for each."""

    def __init__(self, stretch, inverse):
        steps = list(zip(stretch.parts, stretch.variables, stretch.values, strict=True))
        super().__init__(steps[::-1] if inverse else steps)
        self.inverse = inverse

    def forward(self, learned, fixed, x, context, inverse):
        def body(x, own):
            y, log_det, inputs = super(_Loop, self).forward(*own, x, context, inverse)
            return y, (log_det, inputs)

        y, (log_dets, inputs) = jax.lax.scan(body, x, (learned, fixed), reverse=self.inverse)
        return y, jnp.sum(log_dets, axis=0), inputs

    def pull(self, pull_block, state, learned, fixed, inputs):
        def body(state, own):
            return super(_Loop, self).pull(pull_block, state, *own)

        return jax.lax.scan(body, state, (learned, fixed, inputs), reverse=not self.inverse)


def _pull_block(parts, variables, state, learned, fixed, inputs, *, log_det_grad, shared, entire, inverse):
    """Run the backward pass of `parts`: return (state before them, gradients of `learned`).

    The state is the output of the parts (unused if `inputs` are kept), its gradient, and that of the context so far.
    """
    y, grad, shared_grads = state
    own_grads, done = [], [grad]
    for i in reversed(range(len(parts))):
        part = parts[i]
        known = y if inputs is None else inputs[i]
        zero = _zero_after(done, known.dtype)
        known, own = known + zero, [value + zero for value in learned[i]]

        def again(own, shared, start, part=part, known=known, some=variables[i], constants=fixed[i]):
            with _holding(some, own, constants):
                if inputs is None:
                    x, z, log_det = part.rebuild(known, entire(shared), inverse=inverse, nudge=start)
                else:
                    x, (z, log_det) = None, part.run(known + start, entire(shared), inverse=inverse)
            return (z, jnp.asarray(log_det, z.dtype)), x

        start = jnp.zeros_like(known) if inputs is not None else _zeros_before(part, known, inverse)
        (_, log_det), pull_part, y = jax.vjp(again, own, shared, start, has_aux=True)
        share = log_det_grad if log_det.shape else jnp.sum(log_det_grad)  # one number for all samples
        part_grads, more, grad = pull_part((grad, share))
        own_grads.append(part_grads)
        shared_grads = jax.tree.map(jnp.add, shared_grads, more)
        done = [grad, *part_grads, *jax.tree.leaves(more)]
    return (y, grad, shared_grads), own_grads[::-1]


def _is_learned(variable):
    return variable.trainable and jnp.issubdtype(variable.dtype, jnp.inexact)


def _holding(variables, learned, fixed):
    """Return a scope in which a part's variables have these values."""
    learned, fixed = iter(learned), iter(fixed)
    return keras.StatelessScope([(v, next(learned if _is_learned(v) else fixed)) for v in variables])


def _part(context):
    """Return (the leaves of `context` that can have gradients, others None; a function from such to the whole)."""

    def is_float(leaf):
        return jnp.issubdtype(leaf.dtype, jnp.inexact)

    def whole(shared):
        return jax.tree.map(
            lambda leaf, one: leaf if one is None else one, context, shared, is_leaf=lambda leaf: leaf is None
        )

    return jax.tree.map(lambda leaf: leaf if is_float(leaf) else None, context), whole


@jax.custom_jvp
def _constant(tensors):
    """Return `tensors`, without derivatives: what is rebuilt from them counts as a constant."""
    return tensors


@_constant.defjvp
def _refuse(primals, tangents):
    raise NotImplementedError("no second derivatives through this chain: use backprop='stored'")


def _zero_after(done, dtype):
    """Return a zero that is not known before the tensors of `done` are.

    It is added to the inputs of a part. Otherwise XLA would compute early what depends on these alone, or keep it from
    the forward pass, and hold the activations of all parts at once. Its optimization barriers are gone when it orders
    the operations; it must compute a product with zero, which may be NaN.
    """
    first = [jnp.sum(jnp.ravel(tensor)[:1]).astype(dtype) for tensor in done]
    return 0 * sum(first, jnp.zeros((), dtype))


def _zeros_before(part, y, inverse):
    """Return zeros of the shape of the input of `part` for the output `y`."""
    before = part.compute_output_shape if inverse else part.compute_inverse_shape
    return jnp.zeros(before(y.shape), y.dtype)


def _look(found, known, y, tolerance, on_drift):
    """Report drift, unless the numbers had broken before."""
    size = jnp.maximum(jnp.linalg.norm(jnp.ravel(known)), jnp.finfo(known.dtype).tiny)
    error = jnp.linalg.norm(jnp.ravel(found - known)) / size
    error = jnp.where(jnp.isfinite(jnp.sum(y)), error, 0)

    def report(error):
        if error <= tolerance:  # `vmap` takes both branches
            return
        try:
            on_drift(float(error))
        except Warning as warning:  # made an error: raised here, it would end the step, and lose the weights
            print(f"{type(warning).__name__}: {warning}", file=sys.stderr)

    jax.lax.cond(error <= tolerance, lambda _: None, lambda e: jax.debug.callback(report, e), error)
