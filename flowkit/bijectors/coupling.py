"""Coupling layers: one part of the event passes through and decides what happens to the other."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from keras import ops

from flowkit.bijectors.conditional import TransformBijector
from flowkit.contract import ContractError, Shape, Tensor
from flowkit.contract.arguments import Positive, one_of, words
from flowkit.contract.call import Call
from flowkit.contract.conditioner import LAYOUTS, Network, build_conditioner
from flowkit.contract.errors import shape_error
from flowkit.contract.shapes import as_tuple, sum_event
from flowkit.engines import engine
from flowkit.numerics import mean
from flowkit.transforms import Affine, Transform

WORDS = ("channels", "checkerboard", "alternating")


def split_of(word_or_mask: Any, swap: bool) -> "Halves | Masked":
    """Return the split for the arguments of a coupling. Raises ValueError for other words and bad masks."""
    if isinstance(word_or_mask, str):
        one_of("Coupling's split", word_or_mask, WORDS)
        return Halves(swap) if word_or_mask == "channels" else Masked(word_or_mask, swap)
    mask = np.asarray(word_or_mask)
    if mask.dtype != bool or mask.ndim == 0 or mask.all() or not mask.any():
        raise ValueError(
            f"Coupling's split: got {word_or_mask!r}, expected one of {', '.join(map(repr, WORDS))}, or a boolean mask "
            "of the event, True for some entries that are kept and False for others."
        )
    # As bytes, which can be hashed, and which compilers take for a constant.
    return Masked((mask.shape, mask.tobytes()), swap)


@dataclass(frozen=True)
class Halves:
    """The channels in two halves, the larger one first if they are odd; the first is kept, or the second (`swap`)."""

    swap: bool
    masked: ClassVar = False

    def sizes(self, event):
        """Return how many channels the network sees, and for how many it answers."""
        small = event[-1] // 2
        large = event[-1] - small
        return (small, large) if self.swap else (large, small)

    def part(self, x):
        """Return (what the network sees, what is changed)."""
        first, second = engine.split(x, [x.shape[-1] - x.shape[-1] // 2, x.shape[-1] // 2])
        return (second, first) if self.swap else (first, second)

    def join(self, kept, changed):
        """Return the event again."""
        return engine.concatenate((changed, kept) if self.swap else (kept, changed))

    def divides(self, event):
        """Return True if there is something to keep and something to change."""
        return event[-1] > 1


@dataclass(frozen=True)
class Masked:
    """Some entries are kept, whatever their place; the network sees zeros in the others, and answers for all."""

    # "checkerboard", "alternating", or the shape and the data of a mask.
    kept: str | tuple[tuple[int, ...], bytes]
    swap: bool
    masked: ClassVar = True

    def mask(self, event):
        """Return True if an entry is kept, of the event's shape. Raises ValueError for a mask of another shape."""
        return entries_kept(self.kept, self.swap, event).astype(bool)

    def sizes(self, event):
        """Return how many channels the network sees, and for how many it answers."""
        return event[-1], event[-1]

    def part(self, x):
        """Return (what the network sees, what is changed)."""
        return ops.where(self._is_kept(x), x, ops.zeros_like(x)), x

    def join(self, kept, changed):
        """Return the event again."""
        return changed

    def only_changed(self, a, elsewhere=None):
        """Return `a` in the places that are changed, and `elsewhere`, or 0, in those that are kept."""
        elsewhere = ops.zeros_like(a) if elsewhere is None else elsewhere
        return ops.where(self._is_kept(a), elsewhere, a)

    def divides(self, event):
        """Return True if there is something to keep and something to change."""
        try:
            mask = self.mask(tuple(2 if n is None else n for n in event))  # an open axis is long enough
        except ValueError:
            return False
        return mask.any() and not mask.all()

    def _is_kept(self, x):
        return engine.constant(entries_kept, self.kept, self.swap, as_tuple(x.shape)[1:], like=x) > 0


def entries_kept(kept, swap, event):
    """Return 1 for entries that are kept, 0 for those that are changed, of the event's shape."""
    if kept == "checkerboard":
        places = event[:-1] or event
        mask = np.indices(places).sum(axis=0) % 2 == 0
        mask = mask[..., None] if event[:-1] else mask
    elif kept == "alternating":
        mask = np.arange(event[-1]) % 2 == 0
    else:
        shape, data = kept
        mask = np.frombuffer(data, dtype=bool).reshape(shape)
    try:
        return np.broadcast_to(mask ^ swap, event).astype("float32")
    except ValueError:
        raise ValueError(
            f"Coupling's split: got an event {event}, expected one for its mask of shape {mask.shape}."
        ) from None


class Coupling(TransformBijector):
    """Keep a, change b given h = conditioner(a): z_b = f(b; h), log-det = sum of log f'(b; h), f the `transform`.

    `transform` is a `flowkit.transforms.Transform`, or a word: "affine" is `Affine()`, Glow's published scale;
    "additive" is `Additive()`. For tables `Affine(min_scale=0.1)` or `RationalQuadratic()` are the safer ones: their
    inverses are bounded.

    `split` says which entries are a:

    - "channels": the first half of the last axis; the larger half if it is odd;
    - "checkerboard": the places whose indices add up to an even number;
    - "alternating": every other entry of the last axis;
    - a boolean mask, of the event's shape or of one that broadcasts to it, True for a.

    Of the last three the conditioner sees zeros in b, and answers for every channel. `swap=True` changes the roles of
    a and b. `layout` says which of the conditioner's channels are side by side: those of one kind, "contiguous", or
    those of one entry, "interleaved", as in the published Glow.

    The conditioner is a `Conditioner`, or any Keras layer from a to h.

    Raises ContractError for an event of which nothing is kept or nothing changed, for a transform between two
    different sets, for a `ByColumn` of another number of columns, and if the conditioner's answer has the wrong shape.
    Dinh, Krueger & Bengio, NICE (2014); Dinh, Sohl-Dickstein & Bengio, Real NVP (2017).

    >>> from flowkit.conditioners import MLP
    >>> from flowkit.transforms import Affine
    >>> z, log_det = Coupling(MLP([32]), Affine("tanh"))(ops.ones((4, 6)))
    >>> tuple(z.shape), tuple(log_det.shape)
    ((4, 6), (4,))
    """

    def __init__(
        self,
        conditioner: Network,
        transform: str | Transform = "affine",
        *,
        split: str | Sequence[bool] = "channels",
        swap: bool = False,
        layout: Annotated[str, words(*LAYOUTS)] = "contiguous",
        **kwargs: Any,
    ) -> None:
        super().__init__(conditioner, transform, **kwargs)
        self.split = split if isinstance(split, str) else np.asarray(split)
        self.swap = swap
        self.layout = layout
        self._parts = split_of(split, self.swap)
        self._refuse_two_sets()
        self.spec = self._transform_spec()

    def build(self, x_shape: Shape, context_shape: Shape | None = None) -> None:
        event = as_tuple(x_shape)[1:]
        if not self._parts.divides(event):
            self._refuse_undivided(as_tuple(x_shape))
        seen, changed = self._parts.sizes(event)
        self._check_columns(event[-1], changed)
        self._seen_channels = seen
        given = (*as_tuple(x_shape)[:-1], seen)
        build_conditioner(self, self.conditioner, changed * self.transform.parameters, given, context_shape)

    def _refuse_undivided(self, shape):
        """Raise ContractError for an event of which nothing would be kept, or nothing changed."""
        expected, hint = f"an event for its mask of shape {np.shape(self.split)}", None
        if isinstance(self.split, str):
            parts = "places" if self.split == "checkerboard" and len(shape) > 2 else "channels"
            expected = f"at least 2 {parts}, one to keep and one to change"
            hint = (
                "For one place take split='channels', which divides the channels."
                if parts == "places"
                else "For one channel take Autoregressive, or Pointwise with a network of the context."
            )
        raise shape_error(self, expected, shape, hint)

    def _check_columns(self, columns, changed):
        if not isinstance(self.split, str) or self.split != "channels":
            self.transform.check_columns(self, changed)
            return
        hint = "Of halves it moves those that change alone: take a transform for each column, and a mask as split."
        self.transform.check_columns(self, changed, hint)
        if self.transform.domain.columns is not None:  # of some columns, where the layer's own is of all
            wanted = f"a transform that says the domain of all {columns} columns"
            received = f"that of {changed}: {self.transform.domain}"
            raise ContractError("domain", self, expected=wanted, received=received, hint=hint)

    def _seen(self, x, context):
        return self._parts.part(x)[0], context

    def _seen_shape(self, x_shape):
        return (*x_shape[:-1], self._seen_channels)

    def _move(self, given, prepared, call):
        moved, log_slope = self.transform.run(given, prepared, inverse=call.inverse)
        masked = self._parts.masked
        moved = self._parts.only_changed(moved, given) if masked else moved
        if self.spec.log_det == "zero" or not call.log_det:
            return moved, 0.0
        return moved, sum_event(self._parts.only_changed(log_slope) if masked else log_slope)

    def run(
        self, x: Tensor, call: Call, noise: Tensor | None = None, derived: Any = None
    ) -> tuple[Tensor, Tensor]:
        kept, given = self._parts.part(x)
        moved, log_det = self._move(given, self._prepare(kept, call, derived), call)
        return self._parts.join(kept, moved), log_det

    def rebuild(self, y: Tensor, call: Call, nudge: Any) -> tuple[Any, Any, Any]:
        # What is kept is the same on both sides, so the network answers once for both directions.
        (kept, moved), (kept_nudge, moved_nudge) = self._parts.part(y), self._parts.part(nudge)
        prepared = self._prepare(kept + kept_nudge, call)
        constants = [ops.stop_gradient(a) for a in prepared]
        undone, _ = self._move(moved, constants, call.turned())
        redone, log_det = self._move(undone + moved_nudge, prepared, call)
        return self._parts.join(kept, undone), self._parts.join(kept + kept_nudge, redone), log_det


class _Balanced(Affine):
    """`Affine("tanh")` whose log-scales have mean 0 over the channels."""

    log_det = "zero"

    def _scale_of(self, s):
        log_scale, _ = super()._scale_of(s)
        log_scale = log_scale - mean(log_scale, axis=-1, keepdims=True)
        return log_scale, ops.exp(log_scale)


class GIN(Coupling):
    """z_b = (x_b + t(x_a)) exp(s(x_a) - mean s(x_a)), log-det = 0, on halves a and b of the channels.

    The mean is over the channels of b, at each place of an image by itself. Channels stretch at the expense of each
    other, so a flow of such layers can order its latents by their variance, which `Scale` at its end learns.

    `conditioner`, `swap` and `layout` are those of `Coupling`; s is between -bound and bound. One channel in b is only
    shifted. Raises ContractError for vectors or images of one channel. Sorrenson, Rother & Koethe, Disentanglement by
    Nonlinear ICA with General Incompressible-flow Networks (GIN) (2020).

    >>> from flowkit.conditioners import MLP
    >>> z, log_det = GIN(MLP([8]))(ops.ones((4, 6)))
    >>> float(log_det[0])
    0.0
    """

    def __init__(
        self,
        conditioner: Network,
        *,
        bound: Positive = 2.0,
        swap: bool = False,
        layout: Annotated[str, words(*LAYOUTS)] = "contiguous",
        **kwargs: Any,
    ) -> None:
        super().__init__(conditioner, _Balanced("tanh", bound=bound), swap=swap, layout=layout, **kwargs)
        self.bound = bound
