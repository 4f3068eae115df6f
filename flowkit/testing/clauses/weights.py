"""Weights change when they may, act as those of separate layers, and come back from a config and from a file."""

import contextlib
import os
import tempfile
import warnings

import keras
import numpy as np
from keras import ops, tree

from flowkit.bijectors.repeat import CopyScope
from flowkit.contract import Bijector
from flowkit.contract.adaptation import adapted_flags
from flowkit.contract.call import Call
from flowkit.contract.flow_layer import adapts
from flowkit.contract.inside import keras_layers, layers_inside
from flowkit.contract.noise import count
from flowkit.engines import engine
from flowkit.testing.clauses.gradients import gradients
from flowkit.testing.inputs import Inputs, needs_of, placeholder, points_of
from flowkit.testing.judging import (
    SIDES,
    Broken,
    Undecided,
    ask_unless,
    clause,
    judge,
    point,
    require,
    require_unchanged,
)
from flowkit.testing.subject import STEPS, adapt, nudged, recreate, refresh
from flowkit.testing.tolerances import ROUNDINGS

STEP = 2.0**-6
"""The relative move of weights in "derived": enough to show, and no other map."""


def depends_on_data(subject):
    """Return True if there is something to adapt."""
    return adapts(subject.layer(subject.events[0]))


@clause("adaptation", per="once")
def adaptation(trial):
    """Require that adapt sets the weights the same each time, before use, is saved, and is no part of a call.

    Hint: Set statistics in _adapt alone. Remember it in a weight, which is saved with the layer: with adapted_flag of
    flowkit.contract.adaptation, self.flag = adapted_flag(self) in build and self.flag.assign(True) in _adapt.
    """
    ask_unless(not depends_on_data(trial.subject), "nothing depends on data")
    fresh = trial.subject.built(trial.event)
    batch = trial.subject.batch(fresh, trial.event, seed=1)
    require(adapted_flags(fresh), "a saved, non-trainable weight named 'adapted'", "none")
    for inverse, _ in trial.directions:
        points = np.zeros((len(batch.x), *trial.latent_event)) if inverse else batch.x
        try:
            trial.run32(inverse, Inputs(points, batch.context), layer=fresh)
        except ValueError:  # ContractError is one
            continue
        raise Broken(f"{SIDES[inverse]} to refuse before adapt", "an answer")
    try:
        adapt(fresh, batch)
    except NotImplementedError:  # as an inverse says
        raise Undecided("it can not be adapted from this side, and says so") from None
    once = fresh.get_weights()
    require(fresh.adapted, "adapt to set the flag 'adapted'", "a flag that is still False")
    adapt(fresh, batch)
    require_unchanged(once, fresh.weights, "{} unchanged by a second adapt on the same batch")
    _stands_constants(trial, batch)
    for inverse, given in trial.directions:
        t = np.random.default_rng(11).normal(size=(len(batch.x), *given.x.shape[1:]))
        trial.run32(inverse, Inputs(points_of(trial.domain(inverse), t), batch.context), layer=fresh)
    require_unchanged(once, fresh.weights, "{} unchanged by a call on other data")
    again = _restored(fresh, trial.event, batch.context)
    require(again.adapted, "a layer that is still adapted after .keras saving", "one that asks for adapt")
    require_unchanged(once, again.weights, "{} unchanged by saving and loading")


def _stands_constants(trial, batch):
    """Require a ValueError, or finite weights, for a column that does not vary, as the dark corner of an image."""
    layer, constant = trial.subject.built(trial.event), np.array(batch.x)
    # On the real line that is 0, whose mean is exact: of another number its rounding may pass for a deviation.
    constant[..., 0] = points_of(trial.spec.domain, np.zeros(constant.shape))[..., 0]
    if trial.spec.domain.kind == "simplex":
        constant[:] = batch.x[:1]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it may warn of it
            adapt(layer, batch._replace(x=constant))
    except ValueError:  # ContractError is one
        return
    for variable in layer.weights:
        require(
            np.isfinite(variable.numpy()).all(),
            f"a ValueError, or finite numbers in '{variable.path}', from data whose first column is constant",
            point(variable.numpy().ravel()),
            hint="The deviation of a constant column is 0: add a floor to it, or refuse it by name.",
        )


@clause("refresh", per="once")
def refresh_alone(trial):
    """Require that refresh changes weights that are not trained, and no others, and leaves them finite.

    Hint: Assign in _refresh to weights made with trainable=False; what is trained is the optimizer's.
    """
    ask_unless(not trial.subject.layer(trial.event).refreshes, "nothing is refreshed")
    changed = False
    for layer in (trial.subject.twin(trial.example), trial.subject.built(trial.event)):
        batch = trial.subject.batch(layer, trial.event)
        trained, before = ([v.numpy() for v in some] for some in (layer.trainable_variables, layer.variables))
        for _ in range(STEPS):
            refresh(layer, batch)
            require_unchanged(trained, layer.trainable_variables, "refresh to leave the trained {} as it was")
            for old, variable in zip(before, layer.variables, strict=True):
                new = variable.numpy()
                finite = new.dtype.kind != "f" or np.isfinite(new).all()
                require(
                    finite, f"finite numbers in weight '{variable.path}' after refresh", f"{new.ravel()[:4]}"
                )
                changed |= not np.array_equal(old, new)
        if changed:
            return
    raise Broken("refresh to change a weight", "none that changes")


@clause("derived", per="event")
def derived(trial):
    """Require that a layer answers the same with what it derives, alone or with another, and follows its weights.

    Hint: _derive(x_shape, inverse) may read weights and shapes alone, works for weights with leading axes (write it
    with negative axes), and nothing of it may be kept in the layer.
    """
    ask_unless(trial.spec.noise != "none", "it is given noise")
    derives = any(hasattr(layer, "_derive") for layer in layers_inside(trial.subject.model))
    ask_unless(not derives, "nothing in it defines _derive")
    layer, other = (trial.subject.twin(trial.example) for _ in range(2))
    rng = np.random.default_rng(1)
    other.set_weights(nudged(other, STEP, rng))
    for moves in (False, True):
        if moves:
            for inverse, _ in trial.directions:  # which it may not remember
                trial.run32(inverse, layer=layer)
            for variable, value in zip(layer.weights, nudged(layer, STEP, rng), strict=True):
                variable.assign(value)
        plain = trial.subject.twin(trial.example)
        plain.set_weights(layer.get_weights())
        for inverse, given in trial.directions:
            expected, received = (trial.run32(inverse, layer=used) for used in (plain, layer))
            trial.agree32(inverse, expected, received, "{}")
            if hasattr(layer, "_derive"):
                received = _handed(layer, other, given, inverse)
                trial.agree32(inverse, expected, received, "{}, handed what it derives")


def _handed(layer, other, given, inverse):
    """Return the outputs of `layer` if it receives what it derives together with `other`, from the weights of both."""
    x, context, _ = given.tensors("float32")
    both = zip(layer.variables, other.variables, strict=True)
    stacks = [ops.stack([engine.tensor(one), engine.tensor(two)]) for one, two in both]
    places = {id(variable): place for place, variable in enumerate(layer.variables)}
    with CopyScope(places, stacks):
        own = layer._derive(x.shape, inverse)
    for part in tree.flatten(own):
        found = tuple(getattr(part, "shape", (2,)))
        expected = "_derive to keep a leading axis of 2 that its weights have, of two copies"
        require(found[:1] == (2,), expected, f"shape {found}")
    own = tree.map_structure(lambda part: part[0] if hasattr(part, "shape") else part, own)
    with engine.no_grad():
        y, log_det = layer.run(x, Call(context, inverse), None, own)
    return ops.convert_to_numpy(y), np.broadcast_to(ops.convert_to_numpy(log_det), (len(given.x),))


@clause("config", per="once")
def config(trial):
    """Require that a layer made from get_config() does the same as the original.

    Hint: get_config must name every argument of __init__, and sub-layers through serialize_keras_object.
    """
    if trial.subject.given is not None:  # all that clauses look at has come from its config already
        same_attributes(trial.subject.given, trial.subject.make())
    original = trial.subject.twin(trial.example)
    clone = trial.subject.build(recreate(original), trial.event)
    expected, received = ([tuple(v.shape) for v in layer.weights] for layer in (original, clone))
    require(expected == received, f"weights of shapes {expected} from the config", f"{received}")
    clone.set_weights(original.get_weights())
    again = recreate(clone).get_config()
    require(again == clone.get_config(), "the same config from a layer made from it", "another one")
    same_attributes(original, clone)  # first, as it names the argument
    _same_answers(trial, original, clone, "a layer made from the config")


@clause("saving", per="once")
def saving(trial):
    """Require that a .keras file brings back every weight, bit for bit, and the same answers.

    A class that is not registered is only loaded if its name is passed, as here, so saving is not asked of it.

    Hint: Make weights in build with add_weight, sub-layers as attributes built in build, and register the class.
    """
    layer = trial.layer32
    again = _restored(layer, trial.event, trial.context)
    expected, received = len(layer.weights), len(again.weights)
    require(expected == received, f"{expected} weights from the file", f"{received}")
    require_unchanged(layer.get_weights(), again.weights, "{} from the file, bit for bit")
    _same_answers(trial, layer, again, "the loaded layer")
    kind = type(layer)
    ask_unless(
        keras.saving.get_registered_name(kind) == kind.__name__,
        f"not checked: got {kind.__name__}, expected a class registered with Keras. Decorate it with "
        '@keras.saving.register_keras_serializable("mypkg")',
    )


def _restored(layer, event, context):
    """Return `layer` as it comes back from a `.keras` file, in a model of its own.

    The class is offered by name, since Keras does not find one that is not registered.
    """
    given = {"x": keras.Input(event, name="x")}
    if context is not None:
        given["context"] = placeholder(context)
    if needs := needs_of(layer, (None, *event), inverse=False):
        given["noise"] = keras.Input((count(needs),), name="noise")
    model = keras.Model(given, layer(**given))
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "layer.keras")
        model.save(path)
        known = {type(layer).__name__: type(layer)}
        loaded = keras.saving.load_model(path, custom_objects=known, compile=False)
    return next(part for part in loaded.layers if type(part) is type(layer))


def _same_answers(trial, one, other, what):
    for inverse, given in trial.directions:
        expected, received = (trial.run32(inverse, layer=layer) for layer in (one, other))
        trial.same(inverse, expected, received, given.x, f"the same {{}} from {what}")


def same_attributes(one, other):
    """Require of values, arrays and layers kept as attributes that those of a clone are those of the original.

    What starts with "_" may have changed since a built layer was made, and counts in one that is not.
    """
    of_every_layer = vars(Bijector()).keys() | vars(keras.Layer()).keys() | {"given", "held", "convention"}
    for key in vars(one).keys() & vars(other).keys() - of_every_layer:
        same = (one.built and key.startswith("_")) or _same(vars(one)[key], vars(other)[key])
        if not same:
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


def _repeats(layer):
    """Return the outermost layers in a layer that store the copies of a block together: Keras sees no block."""
    return [inner for inner in keras_layers(layer) if hasattr(inner, "repeated_block")]


_RUNS = ("run", "run_adapt", "run_adapt_alone")


@contextlib.contextmanager
def _apart(layer):
    """Have each `Repeat` in a layer run its copies as separate layers; yield {repeat: copies}."""
    chains = {repeat: repeat.chain() for repeat in _repeats(layer)}
    for repeat, chain in chains.items():
        vars(repeat).update({name: getattr(chain, name) for name in _RUNS})
    try:
        yield {repeat: chain.parts for repeat, chain in chains.items()}
    finally:
        for repeat in chains:
            for name in _RUNS:
                del vars(repeat)[name]


@clause("repeat", per="once")
def repeat(trial):
    """Require that a Repeat answers and adapts as its copies do as separate layers, with the same gradients.

    Hint: A part of the block reads its weights in a way that fits one copy alone: write _derive with negative axes, for
    weights with leading axes, or use Chain([make_block() for _ in range(n)]).
    """
    ask_unless(not _repeats(trial.subject.model), "nothing in it is a Repeat")
    layer = trial.layer32
    for part in _repeats(layer):
        before = [v.numpy() for v in part.variables]
        part.assign(part.copies())
        require_unchanged(before, part.variables, "{} after assign(copies()) as it was")
    for inverse, _ in trial.directions:
        with _apart(layer):
            expected = trial.run32(inverse)
        trial.agree32(inverse, expected, trial.run32(inverse), "{} of its copies as separate layers")
        if trial.spec.solver_gradients or not trial.solved(inverse):
            _same_gradients(trial, inverse)
    if depends_on_data(trial.subject):
        _adapts_alike(trial)


def _same_gradients(trial, inverse):
    """Compare the gradients of a function of both outputs for the rows of each weight with those for the copies'."""
    layer, unit = trial.layer64, trial.eps
    columns = [column for part in _repeats(layer) for column in part.trainable_variables]
    with engine.float64():
        given = trial.inputs(inverse).tensors()
        _, *received = gradients(layer, inverse, given, columns)
        with _apart(layer) as copies:
            rows = [
                row
                for parts in copies.values()
                for copied in zip(*(part.trainable_variables for part in parts), strict=True)
                for row in copied
            ]
            _, *expected = gradients(layer, inverse, given, rows)
    expected = iter(expected)
    for column, grad in zip(columns, received, strict=True):
        wanted = np.stack([next(expected) for _ in grad])
        allowed = ROUNDINGS**2 * unit * np.maximum(1, np.abs(wanted).max())
        what = f"d/d {column.path} of {SIDES[inverse]}, by its copies as separate layers"
        judge(wanted, grad, np.full(grad.shape, allowed), what=what)


def _adapts_alike(trial):
    subject, event = trial.subject, trial.event
    one, other = subject.built(event), subject.built(event)
    other.set_weights(one.get_weights())
    batch = subject.batch(one, event, seed=1)
    try:
        adapt(one, batch)
    except NotImplementedError:  # as an inverse says
        return
    with _apart(other) as copies:
        adapt(other, batch)
    for part, parts in copies.items():
        part.assign(parts)
    for wanted, variable in zip(other.weights, one.weights, strict=True):
        expected, received = (np.atleast_1d(v.numpy()).astype("float64") for v in (wanted, variable))
        allowed = ROUNDINGS**2 * 2.0**-23 * np.maximum(1, np.abs(expected))
        judge(expected, received, allowed, what=f"weight '{variable.path}', adapted as separate layers,")
