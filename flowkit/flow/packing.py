"""Pack what users pass for Keras's methods: arrays, frames, data sets, context and weights."""

import contextlib
import functools
import itertools
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np
from keras import ops, tree

from flowkit.bijectors import Elementwise
from flowkit.contract.arguments import whole_number
from flowkit.contract.columns import ColumnError, column_name
from flowkit.contract.shapes import as_tuple
from flowkit.data.batch_order import Batches
from flowkit.data.frame import Columns, is_frame
from flowkit.flow.inputs import (
    as_array,
    build_on,
    check_adapted,
    check_context,
    checked_data,
    is_array,
    names_of,
)
from flowkit.flow.rows import count, head, map_leaves

if TYPE_CHECKING:
    from flowkit.flow.flow import Flow

DRAWS = 256  # of the flow, or rows of a context, that are adapted to without data

# Inputs as Keras passes them


def unpack(inputs: Any) -> tuple[Any, Any]:
    """Return (x, context) of `x` or `{"x": ..., "context": ...}`: tensors, or shapes."""
    if not isinstance(inputs, dict):
        return inputs, None
    if "x" not in inputs or not {"x", "context"} >= set(inputs):
        raise ValueError(f"Flow: got a dict with the keys {sorted(inputs)}, expected 'x' and 'context'.")
    return inputs["x"], inputs.get("context")


def pack(x: Any, context: Any) -> Any:
    """Return the inverse of `unpack`."""
    return x if context is None else {"x": x, "context": context}


def plain_shape(shape: Any) -> Any:
    """Return a shape, or a dict of shapes, as tuples of int and None; None stays None."""
    if isinstance(shape, dict):
        return {key: as_tuple(value) for key, value in shape.items()}
    return None if shape is None else as_tuple(shape)


# Frames and tables


@contextlib.contextmanager
def learned_columns(flow: "Flow", x: Any, context: Any = None) -> Iterator[None]:
    """Enter a scope in which the flow knows the columns of frames, `x` and context; it keeps them unless it raises."""
    before = flow.columns, flow.context_columns
    try:
        if is_frame(x) and (flow.columns is None or flow.columns.library is None):
            here = Columns.of(x)
            flow.columns = here if flow.columns is None else replace(flow.columns, library=here.library)
        if is_frame(context) and flow.context_columns is None and flow.context_kind != "none":
            flow.context_columns = Columns.of(context)
        yield
    except BaseException as error:
        names = names_of(flow)
        flow.columns, flow.context_columns = before
        if isinstance(error, ColumnError) and _reaches(flow.bijector, error.bijector):
            raise error.named(names) from None
        raise


def _reaches(bijector, layer):
    """Return True if columns reach a layer in the order of the data: after elementwise maps alone."""
    parts = getattr(bijector, "parts", [bijector])
    before = itertools.takewhile(lambda part: part is not layer, parts)
    return layer in parts and all(isinstance(part, Elementwise) for part in before)


def refuse_whole(flow: "Flow", x: Any) -> None:
    """Raise ValueError for a column of whole numbers, if the flow takes tables: its density has no upper bound."""
    continuous = flow.dequantize is None and "whole" not in flow.bijector.spec.domain.kind
    tables = continuous and (flow.columns is not None or flow.most_rows_to_adapt > 0)
    if not tables or not is_array(x) or len(x.shape) != 2:
        return
    x = np.asarray(ops.convert_to_numpy(x))
    if x.dtype.kind not in "iufb" or not len(x):
        return
    # Floats so large that there is nothing between whole numbers show nothing.
    fine = x.dtype.kind != "f" or np.spacing(np.abs(x).max(axis=0)) < 1
    whole = (x == np.rint(x)).all(axis=0) & (x != x[:1]).any(axis=0) & fine
    if whole.any():
        first, more = column_name(int(np.argmax(whole)), names_of(flow)), int(whole.sum()) - 1
        raise ValueError(
            f"Flow: got whole numbers in {first}{f' and {more} more columns' if more else ''}, expected numbers that "
            "vary continuously. Add noise, x + rng.uniform(size=len(x)), which makes log_prob a lower bound of theirs, "
            "or leave them out, or give them as context=."
        )


# Data sets


def peek(dataset: Any) -> tuple[tuple[Any, Any], Any]:
    """Return (the first batch's x and context, the data set as if untouched)."""
    if not hasattr(dataset, "__iter__") or isinstance(dataset, list | tuple):
        got = "no data" if dataset is None else type(dataset).__name__
        raise ValueError(f"Flow: got {got}, expected an array, a tensor or a data set.")
    if isinstance(dataset, keras.utils.PyDataset):
        return peeked(dataset[0]), dataset
    first = next(iter(dataset), None)
    if first is None:
        raise ValueError(
            "Flow: got a data set that has no batch left, expected at least one. A generator can be read once: make it "
            "anew for each fit or evaluate."
        )
    if hasattr(dataset, "__next__"):
        dataset = (batch for part in ([first], dataset) for batch in part)
    return peeked(first), dataset


def peeked(batch: Any) -> tuple[Any, Any]:
    """Return (x, context) of a batch of a data set."""
    return unpack(batch[0] if isinstance(batch, tuple | list) else batch)


# Packed for Keras's methods


class Packed(NamedTuple):
    """The checked arguments of one of Keras's methods."""

    x: Any
    y: Any
    rows: tuple[Any, Any]  # x and context of all rows of arrays, of the first batch of a data set
    arrays: bool = False

    def first(self, batch_size: int | None) -> tuple[Any, Any]:
        """Return x and context of the first batch; 32 rows of arrays, as Keras, without a `batch_size`."""
        return head(self.rows, batch_size or 32) if self.arrays else self.rows


def packed(flow, x, y=None, context=None, sample_weight=None, *, learns=False) -> Packed:
    """Return data and context, arrays or a data set, as Keras takes them; build the flow if necessary.

    `y` are labels that come with data, another name for the context, which a flow that reads none may ignore. For a
    flow that `learns`, columns of whole numbers are an error.
    """
    if isinstance(x, dict):
        if context is not None:
            raise ValueError("Flow: got a context in x and as context=, expected one. Leave context= out.")
        x, context = unpack(x)
    x = as_array(flow, x)
    if learns:
        refuse_whole(flow, x)
    if not is_array(x):
        first, x = peek(x)
        data = Packed(x, y, checked_data(flow, *first))
    elif tuple(x.shape)[:1] in ((), (0,)):
        raise ValueError(f"Flow: got an array of shape {tuple(x.shape)}, expected at least one row.")
    else:
        labels = None if flow.context_kind == "none" else y
        x, context = checked_data(flow, x, labels if context is None else context)
        # Keras drops weights that come without a target. The loss does not look at it.
        target = None if sample_weight is None else np.zeros(len(x), "float32")
        data = Packed(pack(x, context), target, (x, context), arrays=True)
    if not flow.built:
        build_on(flow, *data.rows)
    return data


def warn_of_rounding(flow: "Flow", x: Any, data: Packed) -> None:
    """Warn if Keras will round numbers that the flow takes as they are: those of `x`, packed as `data`."""
    floatx = keras.config.floatx()
    is_float64 = str(getattr(x, "dtype", "float64")).endswith("float64")
    rounds = data.arrays and is_float64 and flow.dequantize is None
    if rounds and flow.compute_dtype == "float64" != floatx:
        warnings.warn(
            f"Flow: got float64 data for a float64 flow, which Keras rounds to {floatx} in fit, evaluate and predict. "
            "Call keras.config.set_floatx('float64') first.",
            stacklevel=4,
        )


def ready(flow: "Flow", *given: Any, learns: bool = False) -> Packed:
    """Return `packed` data for a flow that is adapted: an engine that traces a step cannot check that."""
    data = packed(flow, *given, learns=learns)
    check_adapted(flow)
    return data


def to_train(flow, x, y, context, sample_weight, options) -> tuple[Packed, dict[str, Any]]:
    """Return (the data of `fit`, the other `options` of Keras's `fit`)."""
    if options["batch_size"] is not None:
        whole_number(options["batch_size"], "batch_size", least=1)
    if not flow.objective.needs_data:
        refuse_data(flow, "fit", x)
        return _without_data(flow, context, options)
    if isinstance(x, Batches):
        callbacks = options.get("callbacks")
        if not isinstance(callbacks, keras.callbacks.CallbackList):  # which was made for its model
            callbacks = [x.for_fit(), *tree.flatten(callbacks or [])]
        options = options | {"callbacks": callbacks, "shuffle": False}  # its own order can be resumed
    data = packed(flow, x, y, context, sample_weight, learns=True)
    return data, with_validation(flow, options)


def with_validation(flow: "Flow", options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of `fit` with its validation data as Keras takes them.

    They are x, (x, context), (x, context, sample_weight), or a data set.
    """
    given = options.get("validation_data")
    if given is None:
        return options
    given = unpack(given) if isinstance(given, dict) else given
    x, context, weights = (*(given if isinstance(given, tuple | list) else (given,)), None, None)[:3]
    made = packed(flow, x, context, None, weights)
    return options | {"validation_data": made.x if weights is None else (made.x, made.y, weights)}


# Training without data


def refuse_data(flow: "Flow", method: str, x: Any) -> None:
    """Raise ValueError for data although the objective needs none."""
    if x is not None and not flow.objective.needs_data:
        raise ValueError(
            f"Flow.{method}: got {type(x).__name__}, expected no data for {type(flow.objective).__name__}, which "
            "learns from the flow's own draws. Call fit(steps_per_epoch=1000, batch_size=256), with context= for a "
            "conditional flow."
        )


def _without_data(flow: "Flow", context: Any, options: dict[str, Any]) -> tuple[Packed, dict[str, Any]]:
    """Return batches without data, of rows of a context or of nothing, as `to_train`.

    Raises ValueError if the length of an epoch is not known.
    """
    flow._event()
    context = check_context(flow, context)
    size = options["batch_size"] or 32
    steps = options.get("steps_per_epoch")
    if steps is None and context is None:
        raise ValueError(
            f"Flow.fit: got no steps_per_epoch=, expected one for {type(flow.objective).__name__}, which has no data "
            "to set the length of an epoch. Call fit(steps_per_epoch=1000, batch_size=256)."
        )
    steps = -(-count(context) // size) if steps is None else whole_number(steps, "steps_per_epoch", least=1)
    first, last = options.get("initial_epoch", 0) * steps, max(1, options["epochs"]) * steps
    batches = _context_batches(context, size, first, last)
    changed = {"batch_size": None, "steps_per_epoch": steps, "shuffle": False}
    data = Packed(batches, None, (None, head(context, DRAWS)))
    return data, with_validation(flow, options | changed)


def _context_batches(context, size, start, end):
    """Yield batches without data, from number `start` on: the order of rows depends only on the number.

    In place of data each row has the completed part of the training, `number / end`.
    """
    n = 1 if context is None else count(context)
    # Of many rows it is not drawn for each batch.
    order = functools.lru_cache(maxsize=2)(lambda turn: np.random.default_rng([n, turn]).permutation(n))
    for number in itertools.count(start):
        dealt = [order(place // n)[place % n] for place in range(number * size, (number + 1) * size)]
        done = np.full((size, 1), number / end, "float32")
        yield (pack(done, map_leaves(lambda c: c[dealt], context)),)  # noqa: B023
