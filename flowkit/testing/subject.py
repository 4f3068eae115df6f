"""A bijector under test: its inputs, new layers like it, and copies in both precisions."""

import contextlib
import functools
import json
from typing import Any

import keras
import numpy as np
from keras import ops

from flowkit.contract import ContractError, FlowLayer, Tensor
from flowkit.contract.adaptation import mark_adapted
from flowkit.contract.call import Call
from flowkit.contract.inside import layers_inside
from flowkit.contract.precision import rounding_unit
from flowkit.contract.shapes import per_sample
from flowkit.engines import engine
from flowkit.testing.causes import message_of, not_implemented, text_of
from flowkit.testing.examples import ROWS, Example, evenly, event_shapes
from flowkit.testing.inputs import (
    Inputs,
    context_for,
    described,
    direction,
    each,
    noise_for,
    points_of,
    replaced,
    within,
)
from flowkit.testing.judging import LEAST, SIDES

CONTEXT_SIZE = 3

MANY, MOVE = 19 * ROWS, 3e-7
"""The rows (as many as one measurement has) and the relative moves that show if a layer rounds to float32."""

SCALE = 0.3
"""The scale of weight moves: enough for each term to show, since at the start most mistakes read 0 = 0."""

STEPS = 8
"""The refreshing steps after a jump of the weights, so that a power iteration has caught up."""

_REMAKE = (
    "get_config must name every argument. Its config holds name, dtype and trainable too: take them as `def "
    "__init__(self, ..., **kwargs)` and pass them on as `super().__init__(**kwargs)`. Or pass a function that makes "
    "the bijector."
)


def kept(method):
    """Make a method compute its answer once for each object and arguments.

    >>> class Squares:
    ...     @kept
    ...     def of(self, number):
    ...         print("computing")
    ...         return number**2
    >>> squares = Squares()
    >>> squares.of(3), squares.of(3)
    computing
    (9, 9)
    """
    return functools.cached_property(lambda owner: functools.cache(functools.partial(method, owner)))


class Subject:
    """A bijector under test: makes the layers, inputs and compiled functions of the clauses.

    `given` is a bijector, which is made again through its config, or a function (or class) without arguments that makes
    one. `context` is the shape of one context, a dict of shapes, or a function (rng, batch, event) -> array or dict of
    arrays; None for labels or vectors, as the layer declares. `thorough` runs all stages of an engine's compiler.

    One copy of each precision is kept for each event: `layer(event)` returns the float32 one, `layer64(event)` the
    float64 one, built, adapted to a batch, not yet moved. `narrow` holds the directions whose float64 copy computes in
    float32.
    """

    def __init__(self, given, *, event_shapes=None, context=None, most_events=3, thorough=False):
        if (isinstance(given, keras.Layer) and not isinstance(given, FlowLayer)) or not callable(given):
            raise _not_a_layer(given)
        self.given = given if isinstance(given, FlowLayer) else None
        self._make = given if self.given is None else functools.partial(recreate, given)
        self._context, self.thorough = described(context), thorough
        self.model = self._first()  # unbuilt: answers questions about the spec
        if not isinstance(self.model, FlowLayer):
            raise _not_a_layer(self.model)
        self.spec = self.model.spec
        self._now, self.narrow = {}, set()
        self.events = self._choose_events(event_shapes, most_events)

    @kept
    def missing(self, inverse):
        """Return the reason why the layer lacks a direction; None if it has it."""
        word = self.spec.inverse if inverse else self.spec.forward
        if word == "none" or not inverse:
            return f'none, as the spec says ({SIDES[inverse]}="none")' if word == "none" else None
        event = self.events[0]

        def call():
            layer, given = self.layer(event), self.usual(event, inverse)
            direction(layer, inverse)(*given.tensors(layer.compute_dtype))

        return not_implemented(call)

    def has(self, inverse):
        """Return True if the layer has that direction."""
        return self.missing(inverse) is None

    # New layers

    def _first(self):
        try:
            return self.make()
        except Exception as error:
            if self.given is None:
                raise
            wanted = "a layer that its config makes again, since the checker tries copies"
            parts = {"expected": wanted, "received": text_of(error), "hint": _REMAKE}
            raise ContractError("config", self.given, **parts) from error

    def make(self, dtype=None):
        """Return a new, unbuilt layer; `dtype` "float64" inside `engine.float64()` makes one of that precision."""
        return self._make() if self.given is None else self._make(dtype)

    def _choose_events(self, chosen, most):
        if chosen is not None:
            if any(isinstance(event, int) for event in chosen):
                raise TypeError(f"event_shapes: got {chosen!r}, expected a list of shapes, such as [(2,)].")
            return [tuple(event) for event in chosen]
        candidates, events, errors = event_shapes(self.spec), [], []
        for event in candidates:
            try:
                layer = self.built(event)
                layer.compute_inverse_shape(layer.compute_output_shape((None, *event)))
                events.append(event)
            except Exception as error:  # not an event for this bijector, however it says so
                errors.append(error)
        if not events and not isinstance(errors[0], ValueError):
            return candidates[:1]  # a mistake in the layer, which the clauses will report
        if not events:
            wanted = "to build for an event that its spec allows"
            received = f"errors for all of {candidates}, the last of them: {message_of(errors[-1])}"
            hint = "Narrow the spec's event_rank or event_multiple, or pass event_shapes=."
            raise ContractError("event shape", self.model, expected=wanted, received=received, hint=hint)
        return evenly(events, most)

    def build(self, layer, event):
        """Build `layer` for `event`, and for a context if it reads one; return it."""
        layer.build_for((None, *event), each(lambda c: (None, *c.shape[1:]), self.context(event, 0)))
        return layer

    def batch(self, layer, event, seed=0):
        """Return `Inputs` to adapt `layer` to, with other means and deviations than 0 and 1."""
        t = np.random.default_rng([seed, 2]).normal(0.4, 0.7, (16, *event))
        x = points_of(self.spec.domain, t)
        return Inputs(x, self.context(event, seed, len(x)), noise_for(layer, x.shape, False, seed=0))

    def usual(self, event, inverse, rows=ROWS):
        """Return `Inputs` of a direction, at ordinary points."""
        layer, domain = self.layer(event), self.spec.codomain if inverse else self.spec.domain
        shape = tuple(layer.compute_output_shape((None, *event)))[1:] if inverse else event
        x = points_of(domain, np.random.default_rng(5).normal(size=(rows, *shape)))
        return Inputs(x, self.context(event, 0, rows), noise_for(layer, x.shape, inverse, seed=0))

    def built(self, event):
        """Return a new float32 layer for `event`, as its `build` left it."""
        return self.build(self.make(), event)

    def twin(self, example):
        """Return a new float32 layer, never called, with the weights of the kept one if they fit."""
        layer, source = self.built(example.event), self.weighted(example)
        if [v.shape for v in layer.weights] == [v.shape for v in source.weights]:
            layer.set_weights(source.get_weights())
        return layer

    # Kept copies, whose weights move from example to example

    @kept
    def layer64(self, event):
        with engine.float64():
            layer = self.build(self.make("float64"), event)
            with contextlib.suppress(NotImplementedError):  # as an inverse raises
                adapt(layer, self.batch(layer, event))
            mark_adapted(layer)
        return layer

    @kept
    def start(self, event):
        """Return all weights as they are before they move."""
        layer = self.layer64(event)
        with engine.float64():
            return stored(layer)

    @kept
    def layer(self, event):
        layer = self.built(event)
        layer.set_weights(self.start(event))
        return layer

    def weighted(self, example, wide=False):
        """Return the copy for the event of `example`, float64 if `wide`, with its weights moved as that says."""
        event, moves = tuple(example.event), (example.seed, example.scales)
        layer = self.layer64(event) if wide else self.layer(event)
        if self._now.get((event, wide)) != moves:
            values = self.moved(event, *moves)
            self.forget(event, wide)
            # Outside the scope, JAX would make float32 of what is assigned to a float64 weight.
            with engine.float64() if wide else contextlib.nullcontext():
                layer.set_weights(values)
            self._now[event, wide] = moves
        return layer

    @kept
    def moved(self, event, seed, scales):
        """Return all weights with the trained ones moved, and refreshed as by a few training steps."""
        layer, start = self.layer64(event), self.start(event)
        self.forget(event, wide=True)
        with engine.float64():
            layer.set_weights(start)
            randomize(layer, seed, [SCALE * times for times in scales])
            for _ in range(STEPS if layer.refreshes else 0):
                refresh(layer, self.batch(layer, event))
            return stored(layer)

    def forget(self, event, wide=False):
        """Set the weights of that copy anew before its next use, since a clause has changed them."""
        self._now.pop((event, wide), None)

    # Both directions of the float64 copy as compiled functions of tensors, with derivatives and precision

    def _solved(self, event, inverse, finer):
        layer = self.layer64(event)
        if not finer:
            return direction(layer, inverse)

        def solved(x, context=None, noise=None):
            y, log_det = layer.run(x, Call(context, inverse, finer=True), noise)
            return y, per_sample(layer, log_det, x)

        return solved

    @kept
    def value(self, event, inverse, finer=False):
        """Return (x, context, noise) -> (value, log_det), compiled if the engine can.

        `finer` solves differential equations with more steps, see `flowkit.bijectors.solvers.Solver.finer`.
        """
        return engine.inference_function(self._solved(event, inverse, finer), self.layer64(event))

    @kept
    def gradient(self, event, inverse, of=0, joint=False, finer=False):
        """Return (values, cotangent, context, noise) -> sum(cotangent * answer `of`), its gradients for the `values`.

        These are the points, and the noise if `joint`; then, if given, what takes the place of the trained weights and
        of the floating-point arrays of the context, in turn. `finer`: see `value`.
        """
        run, layer = self._solved(event, inverse, finer), self.layer64(event)
        trained = layer.trainable_variables

        def weighed(values, weights, cotangent, context, noise):
            x, *others = values
            if joint:
                noise, *others = others
            if len(others) > len(trained):
                context = replaced(context, iter(others[len(trained) :]))
            mapping = [*zip(layer.variables, weights, strict=True), *zip(trained, others, strict=False)]
            with keras.StatelessScope(state_mapping=mapping):
                answer = ops.cast(run(x, context, noise)[of], "float64")
            return ops.sum(ops.reshape(answer, cotangent.shape) * cotangent)

        compiled = engine.compile_gradients(weighed)
        return lambda values, *rest: compiled(values, [engine.tensor(v) for v in layer.variables], *rest)

    @kept
    def eps(self, event):
        """Return the rounding unit in which the float64 copy computes: float32's if a direction rounds as that does.

        A direction that is solved tells nothing: a solver stops where it likes.
        """
        layer = self.layer(event)
        kinds = {part.compute_dtype for part in (layer, *layers_inside(layer))}
        words = layer.spec.forward, layer.spec.inverse
        exact = [inverse for inverse in (False, True) if words[inverse] != "iterative" and self.has(inverse)]
        narrow = [inverse for inverse in exact if kinds != {"float64"} and self._bends(event, inverse)]
        self.narrow.update(narrow)
        # What a layer holds may have been computed in less than it is now used in.
        return rounding_unit("float32" if narrow else getattr(layer, "precision", "float64"))

    def _bends(self, event, inverse):
        """Return True if answers have second differences as of float32's rounding, when inputs and weights move."""
        given, answers = self.usual(event, inverse, rows=MANY), []
        domain = self.spec.codomain if inverse else self.spec.domain
        move = within(domain, given.x, MOVE * np.abs(given.x), np.random.default_rng(6))
        for step in (1, 2, 3):  # not 0: weights and points are float32 numbers
            layer = self.weighted(Example(event, seed=1), wide=True)
            self.forget(event, wide=True)
            noise = None if given.noise is None else given.noise * (1 + step * MOVE)
            moved = given._replace(x=given.x + step * move, noise=noise)
            with engine.float64():
                layer.set_weights(nudged(layer, step * MOVE, np.random.default_rng(7)))
                try:
                    found = self.value(event, inverse)(*moved.tensors())
                except Exception:  # the clauses will say what is wrong
                    return False
            answers.append([ops.convert_to_numpy(part).reshape(MANY, -1) for part in found])
        with np.errstate(all="ignore"):
            sizes = [LEAST / 32 * np.maximum(1, np.abs(three[1])) for three in zip(*answers, strict=True)]
            bends = [np.abs(np.diff(three, n=2, axis=0)[0]) for three in zip(*answers, strict=True)]
        return any((bend > size).any(axis=1).mean() > 1 / 8 for bend, size in zip(bends, sizes, strict=True))

    # Contexts

    def context(self, event, seed, batch=16):
        """Return a context for `batch` samples, or None."""
        if self.spec.context == "none":
            return None
        rng = np.random.default_rng([seed, 3])
        if self._context is not None:
            return context_for(self._context, rng, batch, event)
        if self.model.num_classes:
            return rng.integers(0, self.model.num_classes, batch).astype("int32")
        return context_for((CONTEXT_SIZE,), rng, batch, event)


def _not_a_layer(received):
    hint = " Pass the bijector of a flow, flow.bijector." if hasattr(received, "bijector") else ""
    return TypeError(
        f"check_bijector: got {received!r}, expected a Bijector or a function that makes one.{hint}"
    )


# Copies of layers, in another precision, with weights moved off their start, adapted or refreshed


def randomize(layer: keras.Layer, seed: int = 0, scale: Tensor = SCALE) -> Any:
    """Add normal noise to every trainable weight of the built `layer`, reproducibly. Returns `layer`.

    Vectors move by `scale`, kernels by scale / sqrt(fan in), so that what a unit receives changes by
    about `scale` whatever the layer's width. `scale` may be a list, dealt out to the weights in turn.
    Fixed weights (a permutation, a sign, the flag that says "adapted") stay: they are structure.
    Data-dependent ones are set by `adapt`, before this.
    """
    variables, rng = layer.trainable_variables, np.random.default_rng([seed, 0])
    for variable, times in zip(variables, np.resize(scale, len(variables)), strict=True):
        value = variable.numpy()
        fan_in = np.prod(value.shape[:-1]) if value.ndim > 1 else 1
        noise = rng.normal(size=value.shape) * times / np.sqrt(max(1, fan_in))
        variable.assign((value + noise).astype("float32"))  # whatever the layer's dtype
    return layer


def recreate(layer, dtype=None):
    """Return a new, unbuilt layer from `layer`'s config; with every dtype policy in it replaced by `dtype`, if given.

    The config goes through JSON, as it does in a `.keras` file.
    """
    if hasattr(layer, "remade"):  # of another library, without a config
        return layer.remade(dtype)
    stored = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    if dtype is not None:
        stored = _retype(stored, dtype)
    with keras.saving.CustomObjectScope({type(layer).__name__: type(layer)}):
        return keras.saving.deserialize_keras_object(stored)


def _retype(config, dtype):
    """Return the config with each stored dtype policy (a dict, or the word under the key "dtype") replaced."""
    if isinstance(config, list):
        return [_retype(item, dtype) for item in config]
    if not isinstance(config, dict):
        return config
    if "DTypePolicy" in str(config.get("class_name")):
        return {**config, "class_name": "DTypePolicy", "config": {"name": dtype}}
    return {
        key: dtype if key == "dtype" and isinstance(value, str) else _retype(value, dtype)
        for key, value in config.items()
    }


def adapt(layer, given):
    """Adapt `layer` to a batch of `Inputs`."""
    x, context, noise = given.tensors(layer.compute_dtype)
    layer.adapt(x, context, noise=noise)


def refresh(layer, given):
    """Refresh `layer` as one training step does."""
    x, context, noise = given.tensors(layer.compute_dtype)
    with engine.no_grad():
        layer.run_refresh(x, context, noise=noise)


def nudged(layer, step, rng):
    """Return all weights of a layer, floating-point ones larger or smaller by a relative `step`."""
    return [
        v * (1 + step * rng.choice([-1.0, 1.0], size=v.shape)) if v.dtype.kind == "f" else v
        for v in layer.get_weights()
    ]


def stored(layer):
    """Return all weights of a layer; float64 ones as float32 numbers."""
    return [v.astype("float32") if v.dtype == "float64" else v for v in layer.get_weights()]
