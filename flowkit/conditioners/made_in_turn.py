"""The answers of a masked network one entry after another, at the cost of one pass for all."""

import numpy as np
from keras import ops

from flowkit.conditioners.dense import activate
from flowkit.engines import engine


class MADEInTurn:
    """What a built `MADE` or `ResidualMADE` answers for each entry as soon as those before it are known.

    A unit of degree k hears entries 1 to k, so its number is final when they are known: before the answer for entry
    k + 1 the units of degree k are computed, in each layer, and no others. All steps together multiply as often as one
    pass. Degrees never fall along a layer, so the units of a step lie together: tensors are (units, batch). Where
    blocks are added up, all layers have the same degrees, so that what is added belongs to the same units.
    """

    def __init__(self, made):
        self.made = made
        self.layers = made.all_layers()
        self.entries = len(self.layers[0].before)
        self.parameters = made.features // self.entries
        degrees = [self.layers[0].before, *(layer.after for layer in self.layers[:-1])]
        # What is known when entry k is to be answered for: of the data, then of each hidden layer.
        steps = np.arange(self.entries)
        self.rows = [engine.Rows(np.searchsorted(some, steps, side="right").tolist()) for some in degrees]
        self.answers = engine.Rows([(k + 1) * self.parameters for k in range(self.entries)])

    def derive(self):
        """Return what depends on weights alone: for each layer a kernel (units, units before) and a bias (units, 1)."""
        *hidden, last = [layer.derive() for layer in self.layers]
        derived, before = [], 0
        for own, rows in zip(hidden, self.rows[1:], strict=True):
            kernel, bias = ops.swapaxes(own["kernel"], -1, -2), ops.expand_dims(own["bias"], -1)
            derived.append(
                {"kernel": _padded(kernel, rows.padding, before), "bias": _padded(bias, rows.padding)}
            )
            before = rows.padding
        # The parameters of an entry side by side.
        lead, features = tuple(last["bias"].shape[:-1]), self.made.features
        units = last["kernel"].shape[-2]
        kernel = last["kernel"] * units**-0.5 if self.made.damped else last["kernel"]
        kernel = ops.reshape(kernel, (*lead, units, self.parameters, self.entries))
        kernel = ops.reshape(ops.swapaxes(kernel, -1, -3), (*lead, features, units))
        bias = ops.reshape(last["bias"], (*lead, self.parameters, self.entries))
        bias = ops.reshape(ops.swapaxes(bias, -1, -2), (*lead, features, 1))
        return {"layers": [*derived, {"kernel": _padded(kernel, 0, before), "bias": bias}]}

    def begin(self, batch, context, dtype, derived):
        """Return (state, answer) for so many samples, asked and answered in `dtype`; answer(k, x, state) is (h, state).

        `x` is (entries, batch), of which the first k are known and the others any finite numbers; h, what is answered
        for the next one, is (parameters, batch). k counts from 0 in a loop of `engine.iterate`.
        """
        own = self.made.compute_dtype
        kernels = [layer["kernel"] for layer in derived["layers"]]
        biases = [layer["bias"] for layer in derived["layers"]]
        if context is not None and self.made.bias is not None:
            shift = ops.transpose(self.made.bias.call(context, rank=2))
            biases[0] = biases[0] + _padded(shift, self.rows[1].padding)
        due = [*self.rows[1:], self.answers]
        kernels = [
            rows.cut(kernel, before) for rows, kernel, before in zip(due, kernels, self.rows, strict=True)
        ]
        biases = [rows.cut(bias) for rows, bias in zip(due, biases, strict=True)]

        def answer(k, x, state):
            units = x if own == dtype else ops.cast(x, own)
            after, total = (), None
            for i, rows in enumerate(due):
                heard = self.rows[i].known(units, k)
                sums = self.made.skips and not i % 2  # a layer whose answer is added to what came before
                h = engine.dense(rows.at(kernels[i], k), heard, rows.at(biases[i], k))
                if i == len(state):
                    return h if own == dtype else ops.cast(h, dtype), after
                if sums:
                    h = total = h if total is None else total + h
                units = rows.written(state[i], k, self._bent(h, i, keep=sums))
                after = (*after, units)

        sizes = [layer["bias"].shape[0] for layer in derived["layers"][:-1]]
        return tuple(ops.zeros((size, batch), dtype=own) for size in sizes), answer

    def _bent(self, h, layer, keep):
        """Return the input of the next layer for the output `h`, which is written over unless `keep`."""
        last = layer == len(self.layers) - 2
        if last and not self.made.activate_last:
            return h
        return self.made.activation(h) if keep else activate(self.made.activation, h)


def _padded(x, rows, columns=0):
    """Return `x` with so many rows and columns of zeros before its first."""
    if not (rows or columns):
        return x
    return ops.pad(x, (*((0, 0),) * (len(x.shape) - 2), (rows, 0), (columns, 0)))
