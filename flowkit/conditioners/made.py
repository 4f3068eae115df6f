"""Masked networks, whose answer for each entry depends on those before it, at once or one after another."""

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from flowkit.conditioners.mlp import MLP, Angular, DenseNetwork, ResidualMLP, activate
from flowkit.contract import ContractError, Shape
from flowkit.contract.arguments import Count, WholeLists, Wholes, Widths, shown
from flowkit.contract.conditioner import as_type
from flowkit.engines import engine


class MaskedLayers(DenseNetwork):
    """Mixin that masks the layers of an `MLP` or `ResidualMLP`: outputs for entry i depend on entries 1 to i - 1.

    (batch, D) -> (batch, features); `features` is a multiple of D, and channel k D + i belongs to entry i. Each hidden
    unit has a degree m and reads entries 1 to m; units of degree 0 read the context alone, so that it reaches the first
    entry too. A subclass sets `hidden_degrees`, None for degrees that are spread evenly.

    Raises ContractError, when it is built, if the hidden layers are too narrow for an entry to read all that it may,
    and if `features` is no multiple of D.
    """

    autoregressive = True
    skips = False  # True if the output of every other hidden layer is added to what came before the last two
    damped = False  # True if what the last layer reads is divided by the root of its width
    activate_last = True
    hidden_degrees: Sequence[Sequence[int]] | None = None

    def _dense(self, units, kernel_initializer="glorot_uniform"):
        return _Masked(units, kernel_initializer, dtype=self.dtype_policy)

    def all_layers(self) -> list[Any]:
        """Return the masked layers, the last one included."""
        return [*self.hidden_layers, self.last]

    def build(self, x_shape: Shape, context_shape: Shape | None = None) -> None:
        size = x_shape[-1]
        if not self.features or self.features % size:
            wanted = f"features to be a multiple of {size} entries"
            raise ContractError("conditioner", self, expected=wanted, received=str(self.features))
        least = 0 if self.bias is not None else min(1, size - 1)
        degrees = [tuple(1 + place for place in self._places_seen(size))]
        for layer in self.hidden_layers:
            degrees.append(tuple(least + unit * (size - least) // layer.units for unit in range(layer.units)))
        if self.hidden_degrees is not None:
            degrees[1:] = map(tuple, self.hidden_degrees)
        self._check(degrees, size)
        # An output depends on what comes before its entry: it is one degree below it.
        degrees.append(tuple(range(size)) * (self.features // size))
        # Units of the first layer bend at places spread over the data. With biases of zero all would bend at 0, and
        # data that are symmetric there leave a flow for a hundred steps where it starts.
        first, limit = self.hidden_layers[0], len(degrees[0]) ** -0.5
        first.kernel_initializer = keras.initializers.RandomUniform(-limit, limit)
        first.bias_initializer = keras.initializers.RandomUniform(-limit, limit)
        super().build(x_shape, context_shape)
        for layer, (before, after) in zip(self.all_layers(), itertools.pairwise(degrees), strict=True):
            layer.before, layer.after = before, after

    def _keep_degrees(self, degrees, lists):
        """Keep `degrees` as they were passed, and as one of `lists` for each hidden layer."""
        widths = [layer.units for layer in self.hidden_layers]
        if lists is not None and ([*map(len, lists)] != widths or lists != [*map(sorted, lists)]):
            raise ValueError(
                f"{type(self).__name__}'s degrees: got {shown(degrees)}, expected lists that never fall, of the "
                f"lengths {widths}."
            )
        self.degrees, self.hidden_degrees = degrees, lists

    def _check(self, degrees, size):
        """Raise unless each entry hears all those before it, and the context."""
        if any(not 0 <= degree < size for layer in degrees[1:] for degree in layer):
            wanted, received = f"degrees from 0 to {size - 1}, for {size} entries", str(self.hidden_degrees)
            raise ContractError("conditioner", self, expected=wanted, received=received)
        # The entry before the i-th reaches its output through units of degree i alone, and so may all before that.
        needed = set(range(0 if self.bias is not None else 1, size))
        if not all(needed <= set(layer) for layer in degrees[1:]):
            widths = [layer.units for layer in self.hidden_layers]
            received, hint = f"widths {widths}", f"Make them at least {size} wide."
            if self.hidden_degrees is not None:
                received = f"degrees {shown(self.hidden_degrees)}"
                hint = "Degrees drawn at random may leave one out."
            wanted = f"hidden layers in which each of {size} entries hears all before it"
            raise ContractError("conditioner", self, expected=wanted, received=received, hint=hint)

    @functools.cached_property
    def in_turn(self) -> "MADEInTurn | None":
        """Return the answers one after another; None if they might not be those of `call`, to the last bits."""
        # An activation with weights may have one for each unit; half precision rounds by too much to do it twice.
        exact = self.compute_dtype in ("float32", "float64")
        plain = not isinstance(self.activation, keras.Layer) and not getattr(self, "gates", None)
        return MADEInTurn(self) if exact and plain else None


class _Masked(keras.Layer):
    """A dense layer whose units read the units before them of a degree that is not above their own.

    `before` and `after` are the degrees. No `keras.layers.Dense`: what Keras quantises would lose its mask.
    """

    bias_initializer = "zeros"

    def __init__(self, units, kernel_initializer, **kwargs):
        super().__init__(**kwargs)
        self.units, self.kernel_initializer = units, kernel_initializer

    def build(self, x_shape):
        shape = (x_shape[-1], self.units)
        self.kernel = self.add_weight(shape=shape, initializer=self.kernel_initializer, name="kernel")
        self.bias = self.add_weight(shape=shape[1:], initializer=self.bias_initializer, name="bias")

    def derive(self):
        dtype = self.compute_dtype
        kernel = as_type(self.kernel.value, dtype)
        kernel = kernel * engine.constant(mask, self.before, self.after, like=kernel)
        return {"kernel": kernel, "bias": as_type(self.bias.value, dtype)}

    def call(self, x, derived=None):
        return engine.dense(x, **(derived or self.derive()))


def mask(before: tuple[int, ...], after: tuple[int, ...]) -> np.ndarray:
    """Return 1 if a unit may read one before it, of a degree not above its own: (len(before), len(after))."""
    return (np.array(before)[:, None] <= np.array(after)).astype("float32")


class MADE(MaskedLayers, MLP):
    """Dense layers with masks: what is answered for entry i depends on entries 1 to i - 1, and on the context.

    (batch, D) -> (batch, features); `features` is a multiple of D, and channel k D + i answers for entry i. The last
    layer starts at zero. Each hidden unit has a degree m and hears entries 1 to m; units of degree 0 hear the context
    alone, so that it reaches the first entry too. `degrees`, those of each hidden layer's units, never fall along a
    layer; None spreads them evenly. Asked for one entry after another, as the inverse of `Autoregressive`
    does, all answers together cost as much as one pass.

    Raises ContractError, when it is built, if the hidden layers are too narrow for an entry to hear all that it may,
    and if `features` is no multiple of D. Germain, Gregor, Murray & Larochelle, MADE (2015).

    >>> import numpy as np
    >>> net = MADE([16], features=3)
    >>> tuple(net(np.ones((8, 3), "float32")).shape)
    (8, 3)
    """

    def __init__(
        self, hidden: Widths = (64, 64), *, degrees: WholeLists | None = None, **kwargs: Any
    ) -> None:
        super().__init__(hidden, **kwargs)
        self._keep_degrees(degrees, degrees)


class ResidualMADE(MaskedLayers, ResidualMLP):
    """A masked layer of `width`, `blocks` times h + dense(f(dense(f(h)))), all masked, then a linear one (features).

    As in a `MADE`, what is answered for entry i depends on entries 1 to i - 1, and on the context; f is the
    `activation`. All hidden layers have units of the same `degrees`, which never fall; None spreads them evenly. The
    linear layer starts at zero, and so does the last one of each block, which begins as the identity. With
    `activate_last` f comes before the linear layer too; `damped` divides what that layer reads by the square root of
    `width`, as for `ResidualMLP`. `context` ("none", "optional", "required") enters as a bias of the first layer. Asked
    for one entry after another, all answers together cost as much as one pass.

    Raises ValueError for a number out of range, or other degrees; ContractError as `MADE`. Germain, Gregor, Murray &
    Larochelle, MADE (2015); with blocks as used by Durkan, Bekasov, Murray & Papamakarios, Neural Spline Flows (2019).

    >>> import numpy as np
    >>> net = ResidualMADE(16, features=3)
    >>> tuple(net(np.ones((8, 3), "float32")).shape)
    (8, 3)
    """

    skips = True

    def __init__(self, width: Count = 64, *, degrees: Wholes | None = None, **kwargs: Any) -> None:
        super().__init__(width, **kwargs)
        self._keep_degrees(degrees, None if degrees is None else [degrees] * len(self.hidden_layers))


class AngularMADE(Angular, MADE):
    """A `MADE` that sees the cosines and sines of the entries that are angles: what it answers has no jump at -pi.

    `angles` are their places, from 0, in the order in which it is given entries; None: all are. The other arguments
    and what is raised are those of `MADE`; a place beyond the entries is a ContractError too. The inverse of
    `Autoregressive` calls it for all entries until nothing changes.

    >>> import math
    >>> from keras import ops
    >>> net = AngularMADE([8], angles=[0], features=2)
    >>> h = net(ops.convert_to_tensor([[-math.pi, 1.0], [math.pi, 1.0]]))
    >>> bool(ops.all(ops.abs(h[0] - h[1]) < 1e-5))
    True
    """

    in_turn = None


class MADEInTurn:
    """Give the output of a built `MADE` or `ResidualMADE` for each entry as soon as those before it are known.

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
        self.rows = [
            engine.StepWindows(np.searchsorted(some, steps, side="right").tolist()) for some in degrees
        ]
        self.answers = engine.StepWindows([(k + 1) * self.parameters for k in range(self.entries)])

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
        return activate(self.made.activation, h, keep)


def _padded(x, rows, columns=0):
    """Return `x` with so many rows and columns of zeros before its first."""
    if not (rows or columns):
        return x
    return ops.pad(x, (*((0, 0),) * (len(x.shape) - 2), (rows, 0), (columns, 0)))
