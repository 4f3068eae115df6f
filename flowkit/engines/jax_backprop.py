"""Gradients that save memory, on JAX."""

import sys

import jax
import jax.numpy as jnp

from flowkit.engines.replay import Replay, drift
from flowkit.engines.steps import one_by_one


def backprop(stretches, x, call, *, invert, tolerance, on_drift):
    """See `Engine.backprop`. The copies of a stretch that says so are a loop in both passes."""
    runs, values, inverse = [], [], call.inverse
    for stretch in stretches()[:: -1 if inverse else 1]:
        looped = stretch.looped and stretch.n is not None
        if looped:
            steps = list(zip(stretch.parts, stretch.variables, stretch.values, strict=True))
            steps = steps[::-1] if inverse else steps
        else:
            steps = one_by_one([stretch], inverse, jnp.unstack)
        parts, variables, own = map(list, zip(*steps, strict=True))
        runs.append((Replay(parts, variables, call, invert), stretch.n if looped else None))
        values.append(own)

    def forward(values, shared, x):
        first, total, kept = x, jnp.zeros((), x.dtype), []
        for (replay, n), own in zip(runs, values, strict=True):

            def step(x, own, replay=replay):
                y, log_det, inputs = replay.forward(x, shared, own)
                return y, (log_det, inputs)

            x, (log_det, inputs) = jax.lax.scan(step, x, own, n, reverse=inverse) if n else step(x, own)
            total = total + (jnp.sum(log_det, axis=0) if n else log_det)
            kept.append(None if invert else inputs)
        return (x, total), (first, x, kept) if invert else (None, None, kept)

    @jax.custom_vjp
    def whole(values, shared, x):
        return forward(values, shared, x)[0]

    def keep(values, shared, x):
        outputs, kept = forward(values, shared, x)
        return outputs, (values, shared, kept)

    def pull(residuals, grads):
        values, shared, (first, y, kept), (grad, log_det_grad) = _constant((*residuals, grads))
        state = y, grad, [jnp.zeros_like(leaf) if _is_float(leaf) else None for leaf in shared]
        own_grads = []
        for (replay, n), *own in reversed(list(zip(runs, values, kept, strict=True))):

            def step(state, own, replay=replay):
                return replay.backward(state, own[1], shared, own[0], log_det_grad, _pull, _wait)

            back = not inverse
            state, found = jax.lax.scan(step, state, own, n, reverse=back) if n else step(state, own)
            own_grads.append(found)
        if invert:
            _look(drift(state[0], first, y), tolerance, on_drift)
        return own_grads[::-1], state[2], state[1]

    whole.defvjp(keep, pull)
    return whole(values, runs[0][0].shared() if runs else [], x)


def _pull(again, tensors, wanted, grad, log_det_grad):
    """See `Replay.backward`. None stands for a tensor that is not wanted, or that holds no floats."""
    places = [i for i, tensor in enumerate(tensors) if wanted[i] and _is_float(tensor)]

    def of_floats(*floats):
        given = list(tensors)
        for i, tensor in zip(places, floats, strict=True):
            given[i] = tensor
        y, z, log_det = again(*given)
        return (z, jnp.asarray(log_det, z.dtype)), y

    (_, log_det), pull, y = jax.vjp(of_floats, *(tensors[i] for i in places), has_aux=True)
    share = log_det_grad if log_det.shape else jnp.sum(log_det_grad)  # one number for all samples
    found = dict(zip(places, pull((grad, share)), strict=True))
    return y, [found.get(i) for i in range(len(tensors))]


def _is_float(tensor):
    return jnp.issubdtype(tensor.dtype, jnp.inexact)


@jax.custom_jvp
def _constant(tensors):
    """Return `tensors`, without derivatives: what is rebuilt from them counts as a constant."""
    return tensors


@_constant.defjvp
def _refuse(primals, tangents):
    raise NotImplementedError("no second derivatives through this chain: use backprop='stored'")


def _wait(tensors, done):
    """Return the tensors plus a zero that is not known before those of `done` are.

    Otherwise XLA would compute early what depends on these alone, or keep it from the forward pass, and hold the
    activations of all parts at once. Its optimization barriers are gone when it orders the operations; it must compute
    a product with zero, which may be NaN.
    """
    zero = 0 * sum(jnp.sum(jnp.ravel(tensor)[:1]).astype(tensors[0].dtype) for tensor in done)
    return [tensor + zero.astype(tensor.dtype) if _is_float(tensor) else tensor for tensor in tensors]


def _look(error, tolerance, on_drift):
    """Report drift."""

    def report(error):
        if error > tolerance:  # `vmap` takes both branches
            on_drift(float(error))

    jax.lax.cond(error <= tolerance, lambda _: None, lambda e: tell(report, e), error)


def tell(function, x):
    """Call `function` with the numbers of `x` when the program runs that JAX makes now."""

    def report(x):
        try:
            function(x)
        except Warning as warning:  # made an error: raised here, it would end the step, and lose the weights
            print(f"{type(warning).__name__}: {warning}", file=sys.stderr)

    jax.debug.callback(report, x)
