"""Couplings of the patches of an image, whose halves are divided by stored indices."""

import math
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from keras import ops

from flowkit.bijectors.coupling import Coupling
from flowkit.bijectors.weights import new_weight
from flowkit.contract import Shape
from flowkit.contract.arguments import Seed, one_of
from flowkit.contract.conditioner import Network
from flowkit.contract.errors import shape_error
from flowkit.contract.shapes import as_tuple
from flowkit.engines import engine
from flowkit.transforms import Affine, Transform

SPATIAL = (
    "checkerboard",
    "checkerboard-inv",
    "vstripes",
    "vstripes-inv",
    "hstripes",
    "hstripes-inv",
)
JET = tuple(split for spatial in SPATIAL for split in (*["channels"] * 4, spatial))
"""The splits of Jet, which take turns: four of the channels, then one of the places."""


def known_splits(values: Any, name: str) -> list[str]:
    """Return a list of splits by name. Raises ValueError for other words."""
    if isinstance(values, str) or not values:
        raise ValueError(
            f"{name}: got {values!r}, expected a list of splits, such as ['channels', 'vstripes']."
        )
    return [one_of(f"{name}, a split", value, ("channels", *SPATIAL)) for value in values]


class Stored:
    """The two halves of an event at the indices that `layer` stores, each as an event with half the channels."""

    masked = False

    def __init__(self, layer):
        self.layer = layer

    def sizes(self, event):
        """Return how many channels the network sees, and for how many it answers."""
        return event[-1] // 2, event[-1] // 2

    def part(self, x):
        """Return (what the network sees, what is changed)."""
        places, channels = x.shape[1:-1], x.shape[-1]
        flat = ops.take(engine.reshape(x, (-1, math.prod(x.shape[1:]))), self.layer.indices, axis=1)
        return tuple(engine.unstack(engine.reshape(flat, (-1, 2, *places, channels // 2)), axis=1))

    def join(self, kept, changed):
        """Return the event again."""
        *places, half = kept.shape[1:]
        flat = engine.concatenate(
            [engine.reshape(part, (-1, math.prod(part.shape[1:]))) for part in (kept, changed)]
        )
        return engine.reshape(ops.take(flat, self.layer.back, axis=1), (-1, *places, 2 * half))

    def divides(self, event):
        """Return True if each half has as many entries."""
        return self.layer.order(event) is not None


class PatchCoupling(Coupling):
    """Keep a, change b given h = conditioner(a), as a `Coupling`; a and b are halves of the patches of an image.

    An event is (rows, columns, channels), a patch to a place, as `Squeeze` makes them. Both halves have half the
    channels at each place, so that one network shape fits all splits:

    - "channels": half the channels of each place, drawn at random from `seed`;
    - "checkerboard", "vstripes", "hstripes": every other place, by the sum of row and column, the column, or the row;
      the other half is changed with "-inv". The channels of a place become those of two places.

    The split is `splits[seed % len(splits)]`. As a `Repeat` counts seeds up, its copies take the splits in turn. The
    default are Jet's: four of the channels, then one of the places. `transform` and `layout` are as in `Coupling`;
    the default is Jet's scale, 2 sigmoid(s).

    Raises ValueError for an unknown split, ContractError for an event without two equal halves: an odd number of
    channels, or with a split of the places an odd number of places, of columns ("vstripes") or of rows ("hstripes").
    Kolesnikov, Pinto & Tschannen, Jet: A Modern Transformer-Based Normalizing Flow (2024).

    >>> from flowkit.conditioners import ViT
    >>> z, log_det = PatchCoupling(ViT(16, depth=1))(ops.ones((2, 4, 4, 6)))
    >>> tuple(z.shape), tuple(log_det.shape)
    ((2, 4, 4, 6), (2,))
    """

    def __init__(
        self,
        conditioner: Network,
        transform: str | Transform | None = None,
        *,
        splits: Annotated[Sequence[str], known_splits] = JET,
        seed: Seed = 0,
        layout: str = "contiguous",
        **kwargs: Any,
    ) -> None:
        transform = Affine("sigmoid2") if transform is None else transform
        super().__init__(conditioner, transform, layout=layout, **kwargs)
        self.splits, self.seed = splits, seed
        self._parts = Stored(self)
        self.spec = self._transform_spec(event_rank=3, fixed_axes="all")

    @property
    def chosen(self) -> str:
        """Return the split that `seed` chooses."""
        return self.splits[self.seed % len(self.splits)]

    def build(self, x_shape: Shape, context_shape: Shape | None = None) -> None:
        super().build(x_shape, context_shape)
        order = self.order(as_tuple(x_shape)[1:])
        self.indices = new_weight(self, "indices", order, trainable=False, dtype="int32")
        self.back = new_weight(self, "back", np.argsort(order), trainable=False, dtype="int32")

    def order(self, event: tuple[int, ...]) -> np.ndarray | None:
        """Return the indices of the entries of an event, those that are kept first; None without two equal halves."""
        rows, columns, channels = event
        entries = np.arange(math.prod(event)).reshape(-1, channels)
        if channels % 2:
            return None
        if self.chosen == "channels":
            drawn = np.random.default_rng(self.seed).permutation(channels)
            kept = entries[:, drawn[: channels // 2]], entries[:, drawn[channels // 2 :]]
            return np.concatenate([half.ravel() for half in kept])
        row, column = np.indices((rows, columns)).reshape(2, -1)
        kind, _, inverted = self.chosen.partition("-")
        number = {"checkerboard": row + column, "vstripes": column, "hstripes": row}[kind]
        kept = (number % 2 == 0) ^ bool(inverted)
        if 2 * kept.sum() != len(kept):
            return None
        return np.concatenate([entries[kept].ravel(), entries[~kept].ravel()])

    def _refuse_undivided(self, shape):
        hint = "Use an even number of channels, rows and columns, or splits=['channels']."
        raise shape_error(self, f"two halves of equal size for the split {self.chosen!r}", shape, hint)
