"""Compiled and eager agree."""

import numpy as np
from keras import ops

from flowkit import backends
from flowkit.testing.clause import clause, judge
from flowkit.testing.subject import direction, unit
from flowkit.testing.tolerances import ROUNDINGS


@clause(
    "compiled",
    "compiled by the engine (jax.jit, torch.compile, tf.function with XLA), both directions answer as they do eagerly",
    hint="A Python `if` on a tensor's value, numpy on a tensor, or an op that XLA lacks is in the way.",
    per="once",
)
def compiled(trial):
    layer = trial.layer32
    for inverse, points, measured in ((False, trial.x, trial.there), (True, trial.z, trial.back)):
        eager = trial.call32(points, trial.context, inverse)
        run = backends.compile_fully(direction(layer, inverse), layer, thorough=trial.thorough)
        args = [ops.convert_to_tensor(points.astype("float32"))]
        if trial.context is not None:
            args.append(ops.convert_to_tensor(trial.context))
        with backends.no_grad():
            answer = [ops.convert_to_numpy(part) for part in run(*args)]
        grow = unit("float32") / trial.unit_of(inverse)
        errors = measured.value_error * grow, measured.log_det_error * grow
        for name, a, b, error in zip(("output", "log_det"), eager, answer, errors, strict=True):
            side = "inverse" if inverse else "forward"
            a, b = a.astype("float64"), b.astype("float64")
            good = np.isfinite(a).reshape(len(a), -1).all(axis=1)
            if good.any():
                allowed = np.minimum(2 * ROUNDINGS * error, np.maximum(1, np.abs(a)) / 32)
                judge(a, b, allowed, what=f"eager {name} of {side}", where=points, among=good)
