"""A layer comes back from its config, and from a `.keras` file, as it was."""

import os
import tempfile

import keras
import numpy as np

from flowkit.contract import Bijector
from flowkit.contract.noise import count
from flowkit.testing.clauses.clause import clause
from flowkit.testing.given.clone import recreate
from flowkit.testing.given.contexts import placeholder
from flowkit.testing.given.noise import needs_of
from flowkit.testing.verdicts.broken import Broken, unlike


@clause(
    "config",
    "a layer made from get_config() does the same as the one that gave it",
    hint="get_config must name every argument of __init__, and sub-layers through serialize_keras_object.",
    per="once",
)
def config(trial):
    given = trial.subject.given
    original = trial.subject.make()
    if given is not None:  # `original` has come from its config already, and so has all that clauses look at
        same_attributes(given, original)
    trial.subject.prepare(original, trial.example)
    clone = recreate(original)
    trial.subject.build(clone, trial.event)
    if [v.shape for v in original.weights] != [v.shape for v in clone.weights]:
        shapes = [tuple(v.shape) for v in original.weights], [tuple(v.shape) for v in clone.weights]
        raise Broken(f"weights of shapes {shapes[0]} from the config", f"{shapes[1]}")
    clone.set_weights([v.numpy() for v in original.weights])
    if recreate(clone).get_config() != clone.get_config():
        raise Broken("the same config from a layer made from it", "another one")
    same_attributes(original, clone)  # first, as it names the argument
    _same_answers(trial, original, clone, "a layer made from the config")


@clause(
    "saving",
    "a .keras file brings back every weight, bit for bit, and the same answers",
    hint="Make weights in build with add_weight, sub-layers as attributes built in build, and register the class.",
    per="once",
)
def saving(trial):
    layer = trial.layer32
    with tempfile.TemporaryDirectory() as folder:
        again = restored(layer, trial.event, trial.context, os.path.join(folder, "layer.keras"))
    if len(again.weights) != len(layer.weights):
        raise Broken(f"{len(layer.weights)} weights from the file", f"{len(again.weights)}")
    for old, new in zip(layer.weights, again.weights, strict=True):
        if not np.array_equal(old.numpy(), new.numpy()):
            gap = np.max(np.abs(1.0 * old.numpy() - 1.0 * new.numpy()))
            raise Broken(f"weight '{old.path}' from the file, bit for bit", f"a difference of {gap:.3g}")
    _same_answers(trial, layer, again, "the loaded layer")


def restored(layer, event, context, path):
    """`layer` as it comes back from a `.keras` file, in a model of its own.

    The class is offered by name only if it is not one that Keras finds by itself: a class that nobody
    registered and that was made inside a function can not be found by anybody.
    """
    inputs = {"x": keras.Input(event, name="x")}
    if context is not None:
        inputs["context"] = placeholder(context)
    if needs := needs_of(layer, (None, *event), inverse=False):
        inputs["noise"] = keras.Input((count(needs),), name="noise")
    model = keras.Model(inputs, layer(**inputs))
    model.save(path)
    loaded = keras.saving.load_model(path, custom_objects={type(layer).__name__: type(layer)}, compile=False)
    return next(part for part in loaded.layers if type(part) is type(layer))


def _same_answers(trial, one, other, what):
    for inverse, points in trial.directions:
        expected = trial.call32(points, trial.context, inverse, layer=one)
        received = trial.call32(points, trial.context, inverse, layer=other)
        for name, a, b in zip(("output", "log_det"), expected, received, strict=True):
            if not np.array_equal(a, b, equal_nan=True):
                side = "inverse" if inverse else "forward"
                raise Broken(f"the same {name} of {side} from {what}", unlike(a, b, points))


def same_attributes(one, other):
    """Values, arrays and layers kept as attributes: those of a clone must be those of the original.

    What starts with "_" may have changed since a built layer was made, and counts in one that is not.
    """
    of_every_layer = vars(Bijector()).keys() | vars(keras.Layer()).keys() | {"given", "held", "convention"}
    for key in vars(one).keys() & vars(other).keys() - of_every_layer:
        if not (one.built and key.startswith("_")) and not _same(vars(one)[key], vars(other)[key]):
            raise Broken(f"{key}={vars(one)[key]!r} after a config round trip", f"{key}={vars(other)[key]!r}")


def _same(a, b):
    if isinstance(a, keras.Layer) and type(a) is type(b):
        same_attributes(a, b)
    elif isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(_same, a, b))
    elif isinstance(a, (bool, int, float, str)):
        return a == b
    elif isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    return True
