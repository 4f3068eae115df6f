"""How a coupling parts an event in what it keeps and what it changes."""

import ast
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from flowkit.contract.arguments import one_of
from flowkit.contract.shapes import as_tuple
from flowkit.engines import engine

WORDS = ("channels", "checkerboard", "alternating")


def split_of(word_or_mask: Any, swap: bool) -> "Halves | Masked":
    """The split that a coupling's `split` and `swap` name. Raises ValueError for other words, and for no mask."""
    if isinstance(word_or_mask, str):
        one_of("Coupling's split", word_or_mask, WORDS)
        return Halves(swap) if word_or_mask == "channels" else Masked(word_or_mask, swap)
    mask = np.asarray(word_or_mask)
    if mask.dtype != bool or mask.ndim == 0 or mask.all() or not mask.any():
        raise ValueError(
            f"Coupling's split expects one of {', '.join(map(repr, WORDS))}, or a boolean mask of the event, True for "
            f"some entries that are kept and False for others, received {word_or_mask!r}."
        )
    # As a word: it can be compared and hashed, and compilers take it for a constant.
    return Masked(f"{mask.shape} {np.packbits(mask).tobytes().hex()}", swap)


@dataclass(frozen=True)
class Halves:
    """The channels in two halves, the larger one first if they are odd; the first is kept, or the second (`swap`)."""

    swap: bool

    def sizes(self, event):
        """How many channels the network sees, and for how many it answers."""
        small = event[-1] // 2
        large = event[-1] - small
        return (small, large) if self.swap else (large, small)

    def part(self, x):
        """(what the network sees, what is changed)."""
        first, second = engine.cut(x, x.shape[-1] - x.shape[-1] // 2)
        return (second, first) if self.swap else (first, second)

    def join(self, kept, changed):
        """The event again."""
        return engine.concatenate((changed, kept) if self.swap else (kept, changed))

    def only_changed(self, a, elsewhere=None):
        """`a`, which belongs to what is changed."""
        return a

    def divides(self, event):
        """Whether there is something to keep and something to change."""
        return event[-1] > 1


@dataclass(frozen=True)
class Masked:
    """Some entries are kept, whatever their place; the network sees zeros in the others, and answers for all."""

    kept: str  # "checkerboard", "alternating", or the shape and the bits of a mask
    swap: bool

    def mask(self, event):
        """True if an entry is kept, of the event's shape. Raises ValueError for a mask of another shape."""
        return entries_kept(self.kept, self.swap, event).astype(bool)

    def sizes(self, event):
        """How many channels the network sees, and for how many it answers."""
        return event[-1], event[-1]

    def part(self, x):
        """(what the network sees, what is changed)."""
        return ops.where(self._is_kept(x), x, ops.zeros_like(x)), x

    def join(self, kept, changed):
        """The event again."""
        return changed

    def only_changed(self, a, elsewhere=None):
        """`a` in the places that are changed, and `elsewhere`, or 0, in those that are kept."""
        elsewhere = ops.zeros_like(a) if elsewhere is None else elsewhere
        return ops.where(self._is_kept(a), elsewhere, a)

    def divides(self, event):
        """Whether there is something to keep and something to change."""
        try:
            mask = self.mask(tuple(2 if n is None else n for n in event))  # an open axis is long enough
        except ValueError:
            return False
        return mask.any() and not mask.all()

    def _is_kept(self, x):
        return engine.constant(entries_kept, self.kept, self.swap, as_tuple(x.shape)[1:], like=x) > 0


def entries_kept(kept, swap, event):
    """1 for entries that are kept, 0 for those that are changed, of the event's shape."""
    if kept == "checkerboard":
        places = event[:-1] or event
        mask = np.indices(places).sum(axis=0) % 2 == 0
        mask = mask[..., None] if event[:-1] else mask
    elif kept == "alternating":
        mask = np.arange(event[-1]) % 2 == 0
    else:
        shape, _, bits = kept.rpartition(" ")
        shape = ast.literal_eval(shape)
        packed = np.frombuffer(bytes.fromhex(bits), dtype="uint8")
        mask = np.unpackbits(packed, count=math.prod(shape)).astype(bool).reshape(shape)
    try:
        return np.broadcast_to(mask ^ swap, event).astype("float32")
    except ValueError:
        raise ValueError(
            f"Coupling's split expects an event for its mask of shape {mask.shape}, received {event}."
        ) from None
