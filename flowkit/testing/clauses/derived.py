"""What a layer derives from its weights alone changes no answer, and does not outlive a change of them."""

import numpy as np
from keras import ops

from flowkit import backends
from flowkit.bijectors.repeat import Rows, split_copies
from flowkit.contract.precision import rounding_unit
from flowkit.testing.clauses.clause import clause
from flowkit.testing.given import contexts
from flowkit.testing.given.tolerances import ROUNDINGS
from flowkit.testing.verdicts.broken import judge

STEP = 2.0**-6
"""How far weights are moved, as a part of their size: enough to show, and no other map."""


def _unless_derives(subject):
    if subject.spec.noise != "none":
        return "it is given noise"
    layers = subject.model._flatten_layers()
    return None if any(hasattr(layer, "_derive") for layer in layers) else "nothing in it defines _derive"


@clause(
    "derived",
    "handed what it derives from its weights, alone or together with one that is alike, a layer answers as by itself, "
    "and when its weights have changed, as those say",
    hint="_derive(x_shape, inverse) may read weights and shapes alone, works for weights with leading "
    "axes (write it with negative axes), and nothing of it may be kept in the layer.",
    per="event",
    applies=_unless_derives,
)
def derived(trial):
    layer, other = (trial.subject.twin(trial.example) for _ in range(2))
    _move(other, seed=1)
    for change in (None, _assign, _set_weights):
        if change is not None:
            for inverse, points in trial.directions:  # which it may not remember
                trial.call32(points, trial.context, inverse, layer=layer)
            change(layer)
        plain = trial.subject.twin(trial.example)
        plain.set_weights([v.numpy() for v in layer.weights])
        for inverse, points in trial.directions:
            expected = trial.call32(points, trial.context, inverse, layer=plain)
            _compare(
                trial,
                inverse,
                points,
                expected,
                trial.call32(points, trial.context, inverse, layer=layer),
                "",
            )
            if hasattr(layer, "_derive"):
                received = _handed(layer, other, points, trial.context, inverse)
                _compare(trial, inverse, points, expected, received, ", handed what it derives")


def _handed(layer, other, points, context, inverse):
    """The outputs of `layer` if it receives what it derives together with `other`, from the weights of both."""
    x = ops.convert_to_tensor(np.asarray(points, "float32"))
    context = None if context is None else contexts.tensor(context)
    both = zip(layer.variables, other.variables, strict=True)
    stacks = [ops.stack([ops.convert_to_tensor(one), ops.convert_to_tensor(two)]) for one, two in both]
    with Rows(layer.variables, stacks):
        own, _ = split_copies(layer._derive(x.shape, inverse), 2)
    options = {} if own is None else {"derived": own}
    with backends.no_grad():
        y, log_det = layer.run(x, context, inverse=inverse, **options)
    return ops.convert_to_numpy(y), np.broadcast_to(ops.convert_to_numpy(log_det), (len(points),))


def _compare(trial, inverse, points, expected, received, how):
    measured, side = trial.measured_in(inverse), "inverse" if inverse else "forward"
    grow = rounding_unit("float32") / trial.unit_of(inverse)
    errors = measured.value_error * grow, measured.log_det_error * grow
    for name, a, b, error in zip(("output", "log_det"), expected, received, errors, strict=True):
        a, b = a.astype("float64"), b.astype("float64")
        good = np.isfinite(a).reshape(len(a), -1).all(axis=1)
        if good.any():
            allowed = np.minimum(2 * ROUNDINGS * error, np.maximum(1, np.abs(a)) / 32)
            judge(a, b, allowed, what=f"{name} of {side}{how}", where=points, among=good)


def _moved(layer, seed):
    rng = np.random.default_rng(seed)
    for value in (variable.numpy() for variable in layer.weights):
        step = STEP * rng.choice([-1.0, 1.0], size=value.shape) if value.dtype.kind == "f" else 0
        yield (value * (1 + step)).astype(value.dtype)


def _move(layer, seed):
    layer.set_weights(list(_moved(layer, seed)))


def _assign(layer):
    for variable, value in zip(layer.weights, _moved(layer, seed=2), strict=True):
        variable.assign(value)


def _set_weights(layer):
    _move(layer, seed=3)
