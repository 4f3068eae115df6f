"""How a base density behaves: rows, seeds, gradients, files."""

import keras
import numpy as np
from keras import ops

from flowkit import backends
from flowkit.testing.clauses.gradients import agree
from flowkit.testing.clauses.saving import same_attributes
from flowkit.testing.given import contexts
from flowkit.testing.given.density import ROWS, copied
from flowkit.testing.given.points import within
from flowkit.testing.verdicts.broken import Broken, point
from flowkit.testing.verdicts.cause import said

# A gradient is wrong if it is at each of them, in another direction each time: the kinks of many units may pass for a
# slope by chance. In float32 smaller ones would show rounding.
_STEPS = (2.0**-5, 2.0**-6, 2.0**-7, 2.0**-8)
_ROUNDINGS = 8 * 2.0**-23


def batch(density):
    """The density of a row is its own, and that of its context."""
    z, several = density.z[:ROWS], density.varied(ROWS)
    together = density.log_prob(z, contexts=several)
    alone = np.concatenate(
        [density.log_prob(z[i : i + 1], contexts=contexts.rows(several, [i])) for i in range(ROWS)]
    )
    gap = np.abs(together - alone) / np.maximum(1, np.abs(alone))
    if not gap.max() < 1e-5:
        row = int(np.argmax(gap))
        raise density.broken(
            "batch",
            f"{alone[row]:.6g} at {point(z[row])}, as for that row alone",
            f"{together[row]:.6g} among others",
            "A sum, a mean or a reshape runs over the batch axis, or a row takes another's context.",
        )


def seeds(density):
    """Draws follow from the seed."""
    hint = "Hand seed= on to everything that is drawn, as it is: a generator gives other numbers each time."
    generator = keras.random.SeedGenerator(density.seed)
    first, second = density.draw(ROWS, generator), density.draw(ROWS, generator)
    if not np.array_equal(first, density.draw(ROWS, density.seed)):
        raise density.broken("seeds", "the same draws for the same seed", "others", hint)
    for other in (second, density.draw(ROWS, density.seed + 1)):
        if np.array_equal(first, other):
            raise density.broken(
                "seeds", "other draws for another seed, and at the next call", "the same", hint
            )


def gradient(density):
    """What is learned by the density, and by draws that say they carry gradients, is what differences show."""
    base, several = density.distribution, density.varied(ROWS)
    weights = {v.path: v.numpy() for v in base.trainable_variables}
    read = contexts.floating(several)
    given = contexts.tensor(several)

    def density_of(values, cotangent):
        z, *moved = values
        heard = contexts.replaced(given, iter(moved[len(weights) :])) if read else given
        with _with(base, moved[: len(weights)]):
            return ops.sum(base.log_prob(z, context=heard) * cotangent)

    z = density.z[:ROWS].astype("float32")
    _compare(density, density_of, {"z": z, **weights, **read}, (ROWS,), "the log-density")
    if not base.reparameterized or not weights:
        return
    generator = keras.random.SeedGenerator(density.seed)

    def draws_of(values, cotangent):
        with _with(base, values):  # which leaves the generator as it was
            return ops.sum(base.sample(z.shape, seed=generator, context=given) * cotangent)

    hint = "reparameterized = False declares draws that do not carry gradients to all weights."
    _compare(density, draws_of, weights, z.shape, "draws", hint)


def _with(base, values):
    return keras.StatelessScope(state_mapping=list(zip(base.trainable_variables, values, strict=True)))


def _compare(
    density, function, start, shape, what, hint="A stop_gradient, a detached value or numpy is in the way."
):
    """Hold the gradient of a weighed sum for each of the values `start` against differences."""
    rng = np.random.default_rng([density.seed, 4])
    weigh = ops.convert_to_tensor(rng.normal(size=shape), dtype="float32")
    run, values = backends.compile_gradients(function), [v.astype("float32") for v in start.values()]

    def at(i=0, move=0.0):
        moved = [(v + move if j == i else v).astype("float32") for j, v in enumerate(values)]
        value, grads = run([ops.convert_to_tensor(v) for v in moved], weigh)
        return float(ops.convert_to_numpy(value)), [ops.convert_to_numpy(g).astype("float64") for g in grads]

    try:
        here, grads = at()
    except Exception as error:  # whatever an author's code raises
        received = f"{type(error).__name__}: {said(error)}"
        raise density.broken("gradient", f"a gradient of {what}", received, hint) from error

    def moved_as_told(i, name, grad, step):
        """Raise Broken if a difference in one direction is not what the gradient says."""
        step = step * np.maximum(1, np.abs(values[i]))
        if name == "z":
            move = within(density.distribution.domain, values[i].astype("float64"), step, rng)
        else:
            move = step * rng.choice([-1.0, 1.0], size=step.shape)
        around = [at(i, factor * move)[0] for factor in (1, -1, 0.5, -0.5)]
        rounding = _ROUNDINGS * max(map(abs, [here, *around, float(np.prod(shape))]))
        agree(here, around, grad * move, rounding, f"d/d {name} of {what}")

    for i, (name, grad) in enumerate(zip(start, grads, strict=True)):
        for step in _STEPS:
            try:
                moved_as_told(i, name, grad, step)
                break
            except Broken as found:
                if step == _STEPS[-1]:
                    raise density.broken("gradient", found.expected, found.received, hint) from None


def saving(density):
    """A copy from the config has the same density."""
    hint = "get_config must name every argument of __init__."
    try:
        if density.given is not None:  # what is checked has come from its config already
            same_attributes(density.given, copied(density.given))
    except Broken as found:
        raise density.broken("saving", found.expected, found.received, hint) from None
    again = density.built(copied(density.distribution))
    again.set_weights(density.distribution.get_weights())
    z = density.z[:ROWS]
    expected, received = density.log_prob(z), density.log_prob(z, again)
    if not np.array_equal(expected, received):
        row = int(np.argmax(np.abs(expected - received)))
        raise density.broken(
            "saving",
            f"{expected[row]:.6g} at {point(z[row])} from a copy made from the config",
            f"{received[row]:.6g}",
            hint,
        )
