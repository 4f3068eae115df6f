"""Coupling layers: one part of the event passes through and decides what happens to the other."""

import keras
import numpy as np
from keras import ops

from flowkit import backends
from flowkit.bijectors.parameters import LAYOUTS, ORDERS, one_of, shift_and_scale
from flowkit.contract import Bijector, BijectorSpec, ContractError, sum_event
from flowkit.contract.shapes import plain


@keras.saving.register_keras_serializable("flowkit")
class Coupling(Bijector):
    """Keep a, change b given h = conditioner(a):

    - "additive": z_b = b + h, log-det 0;
    - "affine": z_b = (b + shift) * scale with (shift, s) = h, log-det = sum(log scale).

    `scale` is "sigmoid", sigmoid(s + 2) in (0, 1), as published for Glow; or "tanh",
    exp(2 tanh(s / 2)) in (e^-2, e^2), which starts at 1. Both are bounded above; the published one has no
    bound below, so that its inverse can overflow at latents unlike those of the data. `min_scale` = m > 0
    makes it m + (1 - m) sigmoid(s + 2), whose inverse grows at most by 1/m.

    `split` is "channels" (a is the first half of the last axis; the larger half if it is odd) or
    "checkerboard" (a are the places whose indices add up to an even number; the conditioner sees
    zeros in the others and answers for every channel). `swap=True` changes the roles of a and b.
    `layout` ("interleaved", "contiguous") and `order` ("shift-scale", "scale-shift") say which
    channels of h are which.

    The conditioner is a Keras layer from a to h. Where it has an attribute `features` that is None,
    it is told how many channels to answer with. Where it has an attribute `context` that is
    "optional" or "required", it is called with `context=` as well. Where it has a method `run_inside`, that is
    called in place of the layer: the same, without what Keras does around a call.

    Raises ContractError for fewer than two channels (or places), and where the conditioner's
    answer has the wrong shape. Dinh, Krueger & Bengio, NICE (2014); Dinh, Sohl-Dickstein & Bengio,
    Real NVP (2017).

    >>> from flowkit.conditioners import MLP
    >>> z, log_det = Coupling(MLP([32]), scale="tanh")(ops.ones((4, 6)))
    >>> tuple(z.shape), tuple(log_det.shape)
    ((4, 6), (4,))
    """

    def __init__(
        self,
        conditioner,
        *,
        transform="affine",
        split="channels",
        swap=False,
        scale="sigmoid",
        min_scale=0.0,
        layout="interleaved",
        order="shift-scale",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.conditioner = conditioner
        self.transform = one_of("Coupling's transform", transform, ("additive", "affine"))
        self.split = one_of("Coupling's split", split, ("channels", "checkerboard"))
        self.scale = one_of("Coupling's scale", scale, ("sigmoid", "tanh"))
        if not 0 <= min_scale < 1 or (min_scale and scale != "sigmoid"):
            raise ValueError(
                f"Coupling expects min_scale in [0, 1), and 0 for scale='tanh', received {min_scale!r}."
            )
        self.min_scale = min_scale
        self.layout = one_of("Coupling's layout", layout, LAYOUTS)
        self.order = one_of("Coupling's order", order, ORDERS)
        self.swap = swap
        self.spec = BijectorSpec(
            log_det="zero" if transform == "additive" else "varying",
            context=getattr(conditioner, "context", "none"),
        )

    @property
    def num_classes(self):
        return getattr(self.conditioner, "num_classes", None)

    def build(self, x_shape, context_shape=None):
        channels = x_shape[-1]
        if self.split == "checkerboard":
            given, changed = plain(x_shape), channels
        else:
            self.cut = channels - channels // 2
            sizes = (self.cut, channels // 2)
            kept, changed = reversed(sizes) if self.swap else sizes
            given = (*plain(x_shape)[:-1], kept)
        if channels < 2 and (self.split == "channels" or len(x_shape) == 2):
            raise ContractError(
                "event shape",
                self,
                expected="at least 2 channels, one to keep and one to change",
                received=f"shape {plain(x_shape)}",
            )
        wanted = changed * (1 if self.transform == "additive" else 2)
        if getattr(self.conditioner, "features", 0) is None:
            self.conditioner.features = wanted
        if not self.conditioner.built:
            takes_context = self.spec.context != "none"
            shapes = (given, context_shape) if takes_context else (given,)
            self.conditioner.build(*shapes)
        answer = plain(self.conditioner.compute_output_shape(given))
        if answer[-1] != wanted:
            raise ContractError(
                "conditioner",
                self,
                expected=f"{type(self.conditioner).__name__} to answer {wanted} channels",
                received=f"shape {answer}",
            )

    def _answer(self, kept, context):
        """(shift, log_scale, scale) of what is changed; the last two are None for an additive coupling."""
        answer = getattr(self.conditioner, "run_inside", self.conditioner)
        h = answer(kept) if self.spec.context == "none" else answer(kept, context=context)
        h = ops.cast(h, self.compute_dtype)
        if self.transform == "additive":
            return self._where_changed(h), None, None
        shift, s = shift_and_scale(h, self.layout, self.order)
        log_scale, scale = self._scale_of(s)
        return self._where_changed(shift), self._where_changed(log_scale), self._where_changed(scale, 1)

    def _scale_of(self, s):
        """(log_scale, scale), each by itself: the exp of a logarithm costs more, and is less exact."""
        if self.scale == "sigmoid" and not self.min_scale:
            return ops.log_sigmoid(s + 2), ops.sigmoid(s + 2)
        if self.scale == "sigmoid":
            scale = self.min_scale + (1 - self.min_scale) * ops.sigmoid(s + 2)
            return ops.log(scale), scale
        log_scale = 4 * ops.sigmoid(s) - 2  # = 2 tanh(s / 2); `ops.tanh` falls to float32 on JAX
        return log_scale, ops.exp(log_scale)

    def _move(self, moved, shift, log_scale, scale, inverse):
        if log_scale is None:
            return (moved - shift, 0.0) if inverse else (moved + shift, 0.0)
        if inverse:
            return moved / scale - shift, -sum_event(log_scale)
        return (moved + shift) * scale, sum_event(log_scale)

    def run(self, x, context, inverse):
        kept, moved = self._split(x)
        moved, log_det = self._move(moved, *self._answer(kept, context), inverse)
        return self._join(kept, moved), log_det

    def rebuild(self, y, context, inverse, nudge):
        # What is kept is the same on both sides, so the network answers once for both directions.
        (kept, moved), (kept_nudge, moved_nudge) = self._split(y), self._split(nudge)
        answer = self._answer(kept + kept_nudge, context)
        constants = (a if a is None else ops.stop_gradient(a) for a in answer)
        undone, _ = self._move(moved, *constants, not inverse)
        redone, log_det = self._move(undone + moved_nudge, *answer, inverse)
        return self._join(kept, undone), self._join(kept + kept_nudge, redone), log_det

    def run_adapt(self, x, context, again=True):
        if not hasattr(self.conditioner, "adapt") or (not again and self.adapted):
            return
        kept, _ = self._split(x)
        if self.spec.context == "none":
            self.conditioner.adapt(kept)
        else:
            self.conditioner.adapt(kept, context=context)

    # The two parts: halves of the channels, or the whole event with and without zeros in some places.

    def _split(self, x):
        if self.split == "checkerboard":
            return x * self._mask(x), x
        first, second = x[..., : self.cut], x[..., self.cut :]
        return (second, first) if self.swap else (first, second)

    def _join(self, kept, moved):
        if self.split == "checkerboard":
            return moved
        return ops.concatenate((moved, kept) if self.swap else (kept, moved), axis=-1)

    def _where_changed(self, a, elsewhere=0):
        if self.split == "channels":
            return a
        kept = self._mask(a)
        return a * (1 - kept) + elsewhere * kept

    def _mask(self, x):
        return backends.constant(checkerboard, tuple(x.shape[1:]), self.swap, like=x)

    def get_config(self):
        return {
            **super().get_config(),
            "conditioner": keras.saving.serialize_keras_object(self.conditioner),
            "transform": self.transform,
            "split": self.split,
            "swap": self.swap,
            "scale": self.scale,
            "min_scale": self.min_scale,
            "layout": self.layout,
            "order": self.order,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**config | {"conditioner": keras.saving.deserialize_keras_object(config["conditioner"])})


def checkerboard(event, swap=False):
    """1 where an entry is kept, 0 where it is changed: shape (*places, 1), or (n,) for a vector."""
    places = event[:-1] or event
    parity = np.indices(places).sum(axis=0) % 2
    mask = (parity == swap).astype("float32")
    return mask[..., None] if event[:-1] else mask
