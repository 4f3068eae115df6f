"""Masked networks, whose answer for each entry depends on those before it."""

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from flowkit.conditioners.context import ContextNetwork
from flowkit.conditioners.dense import Activation, activate
from flowkit.conditioners.made_in_turn import MADEInTurn
from flowkit.conditioners.mlp import Places, check_places, without_seam
from flowkit.contract import ContractError
from flowkit.contract.arguments import Blocks, ContextWord, Count, WholeLists, Wholes, Widths, shown
from flowkit.contract.derived import derive_from
from flowkit.engines import engine


class MaskedNetwork(ContextNetwork):
    """Dense layers with masks: what is answered for entry i depends on entries 1 to i - 1, and on the context.

    (batch, D) -> (batch, features); `features` is a multiple of D, and channel k D + i answers for entry i. Each hidden
    unit has a degree m and hears entries 1 to m; units of degree 0 hear the context alone, so that it reaches the first
    entry too. A subclass hands on its hidden layers' `widths` and `degrees`, None for degrees that are spread evenly,
    and says in `_through` how the layers follow one another.

    Raises ContractError, when it is built, if the hidden layers are too narrow for an entry to hear all that it may,
    and if `features` is no multiple of D.
    """

    autoregressive = True
    damped = False  # whether the last layer reads the others' answer divided by the root of its width
    skips = False  # whether what every other hidden layer answers is added to what came before the last two
    activate_last = True

    def __init__(
        self,
        widths: Sequence[int],
        degrees: Sequence[Sequence[int]] | None,
        *,
        activation: Activation,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._widths, self._degrees = widths, degrees
        self.activation = activation
        self.bias = self._context_bias(widths[0])

    def build(self, x_shape: Any, context_shape: Any = None) -> None:
        size = x_shape[-1]
        if not self.features or self.features % size:
            raise ContractError(
                "conditioner",
                self,
                expected=f"features to be a multiple of {size} entries",
                received=str(self.features),
            )
        least = 0 if self.bias is not None else min(1, size - 1)
        degrees = [self._degrees_seen(size)]
        for width in self._widths:
            degrees.append(tuple(least + unit * (size - least) // width for unit in range(width)))
        if self._degrees is not None:
            degrees[1:] = map(tuple, self._degrees)
        self._check(degrees, size)
        # An output hears what comes before its entry: it is one degree below it.
        degrees.append(tuple(range(size)) * (self.features // size))
        self.layers = [
            _Masked(before, after, zeros=self._starts_at_zero(number), dtype=self.dtype_policy)
            for number, (before, after) in enumerate(itertools.pairwise(degrees))
        ]
        for layer in self.layers:
            layer.build()
        if self.bias is not None:
            self.bias.build(context_shape)

    def _starts_at_zero(self, number):
        """Whether all weights of a layer are 0 at the start: those of the last, and of what is added to a sum."""
        return number == len(self._widths) or (self.skips and number > 0 and not number % 2)

    def _degrees_seen(self, size):
        """Return the degree of each number that the first layer sees, that of its entry, for so many entries."""
        return tuple(range(1, size + 1))

    def _check(self, degrees, size):
        """Raise unless each entry hears all those before it, and the context."""
        if any(not 0 <= degree < size for layer in degrees[1:] for degree in layer):
            raise ContractError(
                "conditioner",
                self,
                expected=f"degrees from 0 to {size - 1}, for {size} entries",
                received=str(self._degrees),
            )
        # What reaches each unit: the context, then the entries.
        hears = np.eye(1 + size, dtype=bool)[list(degrees[0])]
        for layer, (before, after) in enumerate(itertools.pairwise(degrees)):
            hears = mask(before, after).T.astype(bool) @ hears
            if layer == 0 and self.bias is not None:
                hears[:, 0] = True
        hears = mask(degrees[-1], tuple(range(size))).T.astype(bool) @ hears
        wanted = np.tril(np.ones((size, 1 + size), dtype=bool))
        wanted[:, 0] = self.bias is not None
        if (hears != wanted).any():
            received, hint = f"widths {list(self._widths)}", f"Make them at least {size} wide."
            if self._degrees is not None:
                received, hint = (
                    f"degrees {shown(self._degrees)}",
                    "Degrees drawn at random may leave one out.",
                )
            raise ContractError(
                "conditioner",
                self,
                expected=f"hidden layers in which each of {size} entries hears all before it",
                received=received,
                hint=hint,
            )

    def _derive(self, x_shape: Any) -> dict[str, Any]:
        return {"layers": [layer._derive() for layer in self.layers]}

    @functools.cached_property
    def in_turn(self) -> MADEInTurn | None:
        """Return the answers one after another; None if they might not be those of `call`, to the last bits."""
        # An activation with weights may have one for each unit; half precision rounds by too much to do it twice.
        exact = self.compute_dtype in ("float32", "float64")
        return MADEInTurn(self) if exact and not isinstance(self.activation, keras.Layer) else None

    def call(self, x: Any, context: Any = None, derived: Any = None) -> Any:
        derived = derive_from(self, x.shape) if derived is None else derived
        first, *others, last = derived["layers"]
        h = self._steered(engine.dense(x, **first), context)
        return engine.dense(self._through(h, others), **last)

    def _through(self, h, layers):
        """What the last layer is given: `h`, what the first one answers, through the others; those as `_derive` has."""
        raise NotImplementedError


class _Masked(keras.Layer):
    """A dense layer of which a unit hears those units before it whose degree is not above its own."""

    def __init__(self, before, after, *, zeros, **kwargs):
        super().__init__(**kwargs)
        self.before, self.after, self.zeros = before, after, zeros

    def build(self, input_shape=None):
        shape = (len(self.before), len(self.after))
        start = "zeros" if self.zeros else "glorot_uniform"
        self.kernel = self.add_weight(shape=shape, initializer=start, name="kernel")
        self.bias = self.add_weight(shape=shape[1:], initializer="zeros", name="bias")

    def _derive(self):
        kernel = keras.ops.cast(self.kernel, self.compute_dtype)
        kernel = kernel * engine.constant(mask, self.before, self.after, like=kernel)
        return {"kernel": kernel, "bias": keras.ops.cast(self.bias, self.compute_dtype)}


def mask(before: tuple[int, ...], after: tuple[int, ...]) -> np.ndarray:
    """Return 1 if a unit may hear one before it, whose degree is not above its own: (len(before), len(after))."""
    return (np.array(before)[:, None] <= np.array(after)).astype("float32")


@keras.saving.register_keras_serializable("flowkit")
class MADE(MaskedNetwork):
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
        self,
        hidden: Widths = (64, 64),
        *,
        features: Count | None = None,
        activation: Activation = "relu",
        context: ContextWord = "none",
        num_classes: Count | None = None,
        degrees: WholeLists | None = None,
        **kwargs: Any,
    ) -> None:
        if degrees is not None and (
            [len(some) for some in degrees] != hidden or any(some != sorted(some) for some in degrees)
        ):
            raise ValueError(
                f"MADE's degrees: expected lists that never fall, as long as hidden={hidden} says, received "
                f"{shown(degrees)}."
            )
        super().__init__(
            hidden,
            degrees,
            features=features,
            activation=activation,
            context=context,
            num_classes=num_classes,
            **kwargs,
        )
        self.hidden, self.degrees = hidden, degrees

    def _through(self, h, layers):
        for own in layers:
            h = engine.dense(self.activation(h), **own)
        return self.activation(h)


@keras.saving.register_keras_serializable("flowkit")
class ResidualMADE(MaskedNetwork):
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

    def __init__(
        self,
        width: Count = 64,
        *,
        blocks: Blocks = 2,
        features: Count | None = None,
        activation: Activation = "relu",
        context: ContextWord = "none",
        num_classes: Count | None = None,
        degrees: Wholes | None = None,
        activate_last: bool = True,
        damped: bool = False,
        **kwargs: Any,
    ) -> None:
        if degrees is not None and (len(degrees) != width or degrees != sorted(degrees)):
            raise ValueError(
                f"ResidualMADE's degrees: expected {width} that never fall, one for each unit of a layer, received "
                f"{shown(degrees)}."
            )
        layers = 1 + 2 * blocks
        super().__init__(
            [width] * layers,
            None if degrees is None else [degrees] * layers,
            features=features,
            activation=activation,
            context=context,
            num_classes=num_classes,
            **kwargs,
        )
        self.width, self.blocks, self.degrees = width, blocks, degrees
        self.activate_last, self.damped = activate_last, damped

    def _through(self, h, layers):
        for one, two in zip(layers[::2], layers[1::2], strict=True):
            more = activate(self.activation, engine.dense(self.activation(h), **one))
            h = h + engine.dense(more, **two)
        h = activate(self.activation, h) if self.activate_last else h
        return h * self.width**-0.5 if self.damped else h


@keras.saving.register_keras_serializable("flowkit")
class AngularMADE(MADE):
    """A `MADE` that sees the cosines and sines of the entries that are angles: what it answers has no jump at -pi.

    `angles` are their places, from 0, in the order in which it is given entries; None: all are. The other arguments
    and what is raised are those of `MADE`; a place beyond the entries is a ContractError too. The inverse of
    `Autoregressive` asks it for all entries until nothing changes.

    >>> import math
    >>> from keras import ops
    >>> net = AngularMADE([8], angles=[0], features=2)
    >>> h = net(ops.convert_to_tensor([[-math.pi, 1.0], [math.pi, 1.0]]))
    >>> bool(ops.all(ops.abs(h[0] - h[1]) < 1e-5))
    True
    """

    def __init__(self, hidden: Widths = (64, 64), *, angles: Places | None = None, **kwargs: Any) -> None:
        super().__init__(hidden, **kwargs)
        self.angles = angles

    def build(self, x_shape: Any, context_shape: Any = None) -> None:
        check_places(self, self.angles, x_shape[-1])
        super().build(x_shape, context_shape)

    def _degrees_seen(self, size):
        # In the order of `without_seam`.
        angles = list(range(size)) if self.angles is None else self.angles
        others = [place for place in range(size) if place not in angles]
        return tuple(1 + place for place in (*others, *angles, *angles))

    def call(self, x: Any, context: Any = None, derived: Any = None) -> Any:
        return super().call(without_seam(x, self.angles), context, derived)

    def _derive(self, x_shape: Any) -> dict[str, Any]:
        # Beside `call`, so that what is derived is handed to it.
        return super()._derive(x_shape)
