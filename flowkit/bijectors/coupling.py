"""Coupling layers: one part of the event passes through and decides what happens to the other."""

from typing import Annotated, Any

import keras
import numpy as np
from keras import ops

from flowkit import backends
from flowkit.bijectors.splits import split_of
from flowkit.bijectors.steered import Steered
from flowkit.contract import ContractError
from flowkit.contract.arguments import words
from flowkit.contract.conditioner import LAYOUTS, Network, build_conditioner
from flowkit.contract.shapes import as_tuple
from flowkit.transforms import Transform


@keras.saving.register_keras_serializable("flowkit")
class Coupling(Steered):
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
    a and b. `layout` ("interleaved", "contiguous") says how the conditioner's channels are dealt out: those of one
    entry side by side, or those of one kind.

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

    pure = True

    def __init__(
        self,
        conditioner: Network,
        transform: str | Transform = "affine",
        *,
        split: Any = "channels",
        swap: bool = False,
        layout: Annotated[str, words(*LAYOUTS)] = "interleaved",
        **kwargs: Any,
    ) -> None:
        super().__init__(conditioner, transform, **kwargs)
        self.split = split if isinstance(split, str) else np.asarray(split)
        self.swap = swap
        self.layout = layout
        self._parts = split_of(split, self.swap)
        self._refuse_two_sets()
        self.spec = self._steered_spec()

    def build(self, x_shape: Any, context_shape: Any = None) -> None:
        event = as_tuple(x_shape)[1:]
        if not self._parts.divides(event):
            self._refuse_undivided(as_tuple(x_shape))
        seen, changed = self._parts.sizes(event)
        self._check_columns(event[-1], changed)
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
        raise ContractError("event shape", self, expected=expected, received=f"shape {shape}", hint=hint)

    def _check_columns(self, columns, changed):
        if not isinstance(self.split, str) or self.split != "channels":
            self.transform.check_columns(self, changed)
            return
        hint = "Of halves it moves those that change alone: take a transform for each column, and a mask as split."
        self.transform.check_columns(self, changed, hint)
        if self.transform.domain.columns is not None:  # of some columns, where the layer's own is of all
            raise ContractError(
                "domain",
                self,
                expected=f"a transform that says the domain of all {columns} columns",
                received=f"that of {changed}: {self.transform.domain}",
                hint=hint,
            )

    def _seen(self, x, context):
        return self._parts.part(x)[0], context

    def _seen_shape(self, x_shape):
        return (*x_shape[:-1], self._parts.sizes(x_shape[1:])[0])

    def _prepare(self, kept, context, derived=None):
        return self.transform.prepare(self._answer(kept, context, derived))

    def _move(self, given, prepared, inverse):
        moved, log_slope = self.transform.run(given, prepared, inverse=inverse)
        moved = self._parts.only_changed(moved, given)
        if self.spec.log_det == "zero":
            return moved, 0.0
        return moved, backends.row_sums(self._parts.only_changed(log_slope))

    def run(
        self, x: Any, context: Any, inverse: bool, noise: Any = None, derived: Any = None
    ) -> tuple[Any, Any]:
        kept, given = self._parts.part(x)
        moved, log_det = self._move(given, self._prepare(kept, context, derived), inverse)
        return self._parts.join(kept, moved), log_det

    def rebuild(self, y: Any, context: Any, inverse: bool, nudge: Any) -> tuple[Any, Any, Any]:
        # What is kept is the same on both sides, so the network answers once for both directions.
        (kept, moved), (kept_nudge, moved_nudge) = self._parts.part(y), self._parts.part(nudge)
        prepared = self._prepare(kept + kept_nudge, context)
        constants = [ops.stop_gradient(a) for a in prepared]
        undone, _ = self._move(moved, constants, not inverse)
        redone, log_det = self._move(undone + moved_nudge, prepared, inverse)
        return self._parts.join(kept, undone), self._parts.join(kept + kept_nudge, redone), log_det
