"""A flow that is ready to answer: built, adapted, its data checked and its functions compiled."""

import functools
import math
from collections.abc import Callable
from typing import Any

import keras

from flowkit.contract import ContractError, FlowLayer
from flowkit.contract.arguments import whole_number
from flowkit.contract.noise import given
from flowkit.contract.shapes import context_shape
from flowkit.data.frame import Columns
from flowkit.data.lazy_images import LazyImages
from flowkit.engines import engine
from flowkit.flow.adapting import check_adapted
from flowkit.flow.context import check_context
from flowkit.flow.embedding import answers_of, embed
from flowkit.flow.in_batches import default_batch_size, map_leaves
from flowkit.flow.inputs import check_domain, check_finite, real_numbers
from flowkit.flow.tables import as_array, names_of
from flowkit.flow.turns import Turns


class Ready(keras.Model):
    """What stands behind each answer of `flowkit.Flow`."""

    bijector: FlowLayer
    base: Any
    embedding: Any
    dequantize: Any
    columns: Columns | None
    context_columns: Columns | None
    event_shape: tuple[int, ...] | None
    sampler: keras.random.SeedGenerator
    turns: Turns

    def _through(self, x, context, noise, inverse=False):
        """A direction of the bijector, without Keras's entry if that does nothing for it but take its time."""
        built = self.bijector.built  # which Keras's entry sees to
        entry = self.bijector.call if built and not self._needs_entry else self.bijector
        return entry(x, context=context, inverse=inverse, **given(noise))

    @functools.cached_property
    def _needs_entry(self):
        """Whether Keras's entry to the bijector casts weights, or adds to the loss. A flow that is asked is built."""
        bijector = self.bijector
        return bijector.activity_regularizer is not None or any(
            "float" in weight.dtype and weight.dtype != bijector.compute_dtype
            for weight in bijector.variables
        )

    def _run(self, function, *args):
        return self._compiled_function(function)(*(map_leaves(engine.as_input, a) for a in args))

    @functools.cached_property
    def _compiled_function(self) -> Callable:
        """The compiled function of a function, the last few of which are kept.

        A bound method is the same each time that it is asked for; a closure is not, and may have closed over
        something else.
        """
        return functools.lru_cache(maxsize=32)(lambda function: engine.compile_inference(function, self))

    def _batch_size(self, size):
        if size is None:
            return default_batch_size(math.prod(self._event()))
        return whole_number(size, "batch_size", least=1)

    def _event(self):
        if self.event_shape is None:
            raise ContractError(
                "event shape",
                self,
                expected="to know the size of the data",
                received="a call before any data",
                hint="Call .build((None, d)), or .build((None, h, w, c)) of images, .adapt(batch) or .fit(data) first.",
            )
        return self.event_shape

    def _build_on(self, x, context):
        if not self.built:
            shape = (None, *x.shape[1:])
            self.build(shape if context is None else {"x": shape, "context": context_shape(context)})

    def _prepare(self, x, context, batch_size=None):
        """Checked data, and what the parts see of their context, for a flow that is built and adapted."""
        x, context = self._check_as_read(x, context) if isinstance(x, LazyImages) else self._check(x, context)
        self._build_on(x, context)
        self._check_adapted()
        return x, self._embedded(context, batch_size)

    def _ready(self, context, batch_size=None, rows=None):
        """What the parts see of a context, which is checked and may have to have so many rows."""
        self._check_adapted()
        return self._embedded(check_context(self, context, rows), batch_size)

    def embed(self, context: Any) -> Any:
        """Return what the bijector and the base receive for a context: the embedding's output, or the context itself.

        Tensors with gradients, for an objective of your own, which receives the context as it was passed.
        """
        if self.embedding is None or context is None:
            return context
        return embed(self.embedding, context, self.compute_dtype)

    def _embedded(self, context, batch_size):
        """The same as numpy, each row once, for all that one call does with it."""
        return answers_of(self, context, batch_size)

    def _check_adapted(self):
        self._event()
        check_adapted(self)

    def _as_array(self, x):
        """`x`, or the array of a frame."""
        return as_array(self, x)

    def _check(self, x, context):
        x = self._check_rows(self._as_array(x))
        return x, check_context(self, context, len(x))

    def _check_as_read(self, images, context):
        """`_check` of images that stay on the disk: a row is looked at when it is read."""
        # The first one at once, which tells the shape of all.
        return images.mapped(self._check_rows), check_context(self, context, len(images))

    def _check_rows(self, x):
        dequantize, names = self.dequantize, names_of(self)
        x = (
            check_finite(x, self.compute_dtype, names)
            if dequantize is None
            else dequantize.validate(real_numbers(x))
        )
        self.bijector._check_shape(x.shape)
        if dequantize is None:
            check_domain(x, self.bijector.spec.domain, names)
        return x
