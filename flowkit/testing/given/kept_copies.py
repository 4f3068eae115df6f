"""The copies of a layer under test that are kept, and whose weights move from example to example."""

import contextlib

from keras import ops

from flowkit import backends
from flowkit.contract import ContractError, FlowLayer
from flowkit.testing.given.randomize import SCALE, moved
from flowkit.testing.given.refreshed import refreshed, stored


class KeptCopies:
    """Makes one copy of a subject for each event and precision, once, and gives it the weights of an example."""

    def __init__(self, subject):
        self._subject = subject
        self._layers, self._starts, self._moves, self._fresh = {}, {}, {}, {}

    def layer(self, event, dtype="float32"):
        """The copy for `event`: built, adapted to a batch, not yet perturbed. Kept."""
        key, subject = (event, dtype), self._subject
        if key not in self._layers:
            if dtype == "float64":
                with backends.float64():
                    layer = subject.build(subject.make("float64"), event)
                    self._adapt(layer, event)
            else:
                layer = subject.build(subject.make(), event)
                start = self._start(event)
                if len(start) != len(layer.weights):
                    raise ContractError(
                        "config",
                        subject.model,
                        expected=f"a copy with {len(start)} weights, like the first",
                        received=f"{len(layer.weights)} weights",
                    )
                layer.set_weights(start)
            self._layers[key] = layer
        return self._layers[key]

    def _start(self, event):
        """All weights as they are before they are perturbed, as float32 numbers."""
        if event not in self._starts:
            layer = self.layer(event, "float64")
            with backends.float64():
                self._starts[event] = stored(layer)
        return self._starts[event]

    def _adapt(self, layer, event):
        flags = [v for v in layer.non_trainable_variables if v.name == "adapted"]
        if (
            not flags
            and type(layer)._adapt is FlowLayer._adapt
            and type(layer).run_adapt is FlowLayer.run_adapt
        ):
            return
        subject, x = self._subject, self._subject.adapt_batch(event)
        with contextlib.suppress(NotImplementedError):  # an inverse cannot be adapted from its own side
            named = subject.named(layer, x.shape, subject.context(event, 0, len(x)))
            layer.adapt(ops.convert_to_tensor(x), **named)
        for flag in flags:
            flag.assign(True)

    def weighted(self, example, dtype="float32"):
        """The copy for the event of `example`, with its weights moved as that says."""
        event, moves = tuple(example.event), (example.seed, example.scales)
        layer = self.layer(event, dtype)
        if self._moves.get((event, dtype)) != moves:
            by_path = dict(zip([id(v) for v in layer.weights], self._start(event), strict=True))
            start = [by_path[id(v)] for v in layer.trainable_variables]
            scales = [SCALE * times for times in example.scales]
            new = moved(layer, example.seed, scales, start)
            by_path |= dict(zip([id(v) for v in layer.trainable_variables], new, strict=True))
            values = [by_path[id(v)] for v in layer.weights]
            if layer.refreshes:
                values = self._refreshed(event, moves, values)
            # Outside the scope, JAX would make float32 of what is assigned to a float64 weight.
            with backends.float64() if dtype == "float64" else contextlib.nullcontext():
                for variable, value in zip(layer.weights, values, strict=True):
                    variable.assign(value)
            self._moves[event, dtype] = moves
        return layer

    def _refreshed(self, event, moves, values):
        """The weights as a few training steps' refreshing leaves `values`, from which it was one step away before."""
        if (event, moves) not in self._fresh:
            layer = self.layer(event, "float64")
            self.forget(event, "float64")
            self._fresh[event, moves] = refreshed(self._subject, layer, event, values)
        return self._fresh[event, moves]

    def forget(self, event, dtype="float32"):
        """Have the weights of that copy set anew before its next use: a clause has changed them."""
        self._moves.pop((event, dtype), None)
