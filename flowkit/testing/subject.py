"""A bijector under test: what is known of it, what it receives, and new layers like it."""

import functools
import inspect

import keras
import numpy as np

from flowkit.contract import ContractError, FlowLayer
from flowkit.contract.errors import label
from flowkit.contract.inside import layers_inside
from flowkit.contract.precision import rounding_unit
from flowkit.testing.causes import not_implemented, said
from flowkit.testing.copies import Copies, recreate
from flowkit.testing.examples import evenly, event_shapes
from flowkit.testing.functions import Functions
from flowkit.testing.inputs import Inputs, context_for, described, direction, each, noise_for
from flowkit.testing.judging import SIDES
from flowkit.testing.points import points_of

CONTEXT_SIZE = 3


class Subject:
    """Makes what the clauses need; its `Copies` and compiled `Functions` only once.

    `given` is a bijector, which is made again through its config, or a function (or class) without
    arguments that makes one. `context` says what a context looks like if the layer itself does
    not: the shape of one, a dict of shapes, or a function (rng, batch, event) -> array, or dict of arrays. `thorough`
    takes an engine's compiler through all its stages.
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
        self.missing = functools.cache(self._missing)
        copies = Copies(self)
        self.layer, self.weighted, self.forget = copies.layer, copies.weighted, copies.forget
        self.functions = Functions(lambda event: self.layer(event, "float64"), self._declared)
        self.events = self._choose_events(event_shapes, most_events)

    def __str__(self):
        return label(self.model)

    def _missing(self, inverse):
        """Return why the layer has no forward, or no inverse; None if it has one."""
        word = self.spec.inverse if inverse else self.spec.forward
        if word == "none" or not inverse:
            return f'none, as the spec says ({SIDES[inverse]}="none")' if word == "none" else None
        event = self.events[0]

        def call():
            layer = self.layer(event)
            latent = tuple(layer.compute_output_shape((None, *event)))[1:]
            z = points_of(self.spec.codomain, np.zeros((1, *latent)))
            noise = noise_for(layer, z.shape, True, seed=0)
            direction(layer, True)(*Inputs(z, self.context(event, 0, 1), noise).tensors(layer.compute_dtype))

        return not_implemented(call)

    def has(self, inverse):
        """Return True if the layer has that direction."""
        return self.missing(inverse) is None

    def forgets(self, *, inverse):
        """Return True if that direction forgets something."""
        return self.model.forgets(inverse=inverse)

    def _declared(self, event):
        """Return the least precise type in which the layer, or a part of its float64 copy, declares to compute."""
        layers = [self.layer(event), *layers_inside(self.layer(event, "float64"))]
        kinds = {layer.compute_dtype for layer in layers if "float" in str(layer.compute_dtype)}
        return max(kinds, key=rounding_unit)

    # New layers

    def _first(self):
        try:
            return self.make()
        except Exception as error:
            if self.given is None:
                raise
            raise ContractError(
                "config",
                self.given,
                expected="a layer that its config makes again, since the checker tries copies",
                received=f"{type(error).__name__}: {said(error)}",
                hint=_remake(type(self.given)),
            ) from error

    def make(self, dtype=None):
        """Return a new, unbuilt layer; `dtype` "float64" inside `engine.float64()` makes one of that precision."""
        return self._make() if self.given is None else self._make(dtype)

    def _choose_events(self, chosen, most):
        if chosen is not None:
            if any(isinstance(event, int) for event in chosen):
                raise TypeError(
                    f"event_shapes expects a list of shapes, such as [(2,)], received {chosen!r}."
                )
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
            return candidates[:1]  # no refusal but a mistake, which the clauses will report
        if not events:
            raise ContractError(
                "event shape",
                self.model,
                expected="to build for an event that its spec allows",
                received=f"errors for all of {candidates}, the last of them: {said(errors[-1])}",
                hint="Narrow the spec's event_rank or event_multiple, or pass event_shapes=.",
            )
        return evenly(events, most)

    def build(self, layer, event):
        """Build `layer` for `event` (and a context, if it reads one); return it."""
        if not layer.built:
            context = each(lambda c: (None, *c.shape[1:]), self.context(event, 0))
            layer.build_for((None, *event), context)
            layer.built = True
        return layer

    def batch(self, layer, event, seed=0):
        """Return `Inputs` to adapt `layer` to: each entry has another mean and deviation than 0 and 1."""
        t = np.random.default_rng([seed, 2]).normal(0.4, 0.7, (16, *event))
        x = points_of(self.spec.domain, t)
        return Inputs(x, self.context(event, seed, len(x)), noise_for(layer, x.shape, False, seed=0))

    def built(self, event):
        """Return a new float32 layer for `event`, as its `build` left it."""
        return self.build(self.make(), event)

    def prepare(self, layer, example):
        """Build `layer` and set the weights that the kept copy has for `example`, as far as they fit; return it."""
        self.build(layer, example.event)
        source = self.weighted(example)
        if [v.shape for v in layer.weights] == [v.shape for v in source.weights]:
            layer.set_weights([v.numpy() for v in source.weights])
        return layer

    def twin(self, example):
        """Return a new float32 layer with the same weights as the kept one, that nothing has called."""
        return self.prepare(self.make(), example)

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
    hint = " Of a flow pass its bijector, flow.bijector." if hasattr(received, "bijector") else ""
    return TypeError(
        f"check_bijector expects a Bijector or a function that makes one, received {received!r}.{hint}"
    )


def _remake(kind):
    """Return what to do about a class that its config does not make again."""
    rest = "or pass a function that makes the bijector."
    taken = inspect.signature(kind.__init__).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken):
        return f"Mend get_config, {rest}"
    return (
        "Its config holds name, dtype and trainable too: take them as `def __init__(self, ..., **kwargs)`, hand them "
        f"on as `super().__init__(**kwargs)`, {rest}"
    )
