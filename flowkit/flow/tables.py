"""Tables: frames and their names, how many rows a flow adapts to, and what no density can be fitted to."""

import contextlib
import itertools

import keras
import numpy as np
from keras import tree

from flowkit.bijectors import Elementwise
from flowkit.contract.columns import ColumnError, column_name
from flowkit.contract.inside import keras_layers
from flowkit.data.frame import Columns, is_frame
from flowkit.flow.context import context_kind
from flowkit.flow.inputs import is_array, peeked, rows, unpack

_FEW = 1000  # rows that say whether a column is of whole numbers
_ENTRIES = 2**22  # of the rows that are adapted to: of a wide table, or of images, they are fewer


# Names


def as_array(flow, x):
    """`x`, or the array of a frame: by the names of the flow's columns if it knows them."""
    if not is_frame(x):
        return x
    return (flow.columns or Columns.of(x)).values(x)


def names_of(flow):
    """The names of the flow's columns, or None."""
    return None if flow.columns is None else flow.columns.names


@contextlib.contextmanager
def learned_columns(flow, x, context=None):
    """`x` as an array. Of frames, `x` and context, the flow knows the columns from now on, unless one is refused."""
    before = flow.columns, flow.context_columns
    try:
        if is_frame(x) and flow.columns is None:
            flow.columns = Columns.of(x)
        if is_frame(context) and flow.context_columns is None and context_kind(flow) != "none":
            flow.context_columns = Columns.of(context)
        yield as_array(flow, x)
    except ColumnError as error:
        named = error.named(names_of(flow)) if _reaches(flow.bijector, error.bijector) else error
        flow.columns, flow.context_columns = before
        raise named from None
    except BaseException:
        flow.columns, flow.context_columns = before
        raise


def _reaches(bijector, layer):
    """Whether columns come to a layer in the places that they have in the data: after maps of each entry alone."""
    parts = getattr(bijector, "parts", [bijector])
    before = itertools.takewhile(lambda part: part is not layer, parts)
    return layer in parts and all(isinstance(part, Elementwise) for part in before)


# Entries


def refuse_whole(flow, x):
    """Raise ValueError for a column of whole numbers, if the flow takes tables: their density has no upper bound."""
    if not _takes_tables(flow) or not is_array(x) or len(x.shape) != 2:
        return
    x = np.asarray(keras.ops.convert_to_numpy(x))
    if x.dtype.kind not in "iufb" or not len(x):
        return
    x = x.astype("uint8") if x.dtype.kind == "b" else x
    if (x[:_FEW] != np.floor(x[:_FEW])).any(axis=0).all():  # which most tables tell at once
        return
    largest, varies = np.abs(x).max(axis=0), (x != x[:1]).any(axis=0)
    # Floats so large that there is nothing between whole numbers tell nothing.
    fine = x.dtype.kind in "iu" or np.spacing(largest) < 1
    whole = (x == np.floor(x)).all(axis=0) & varies & fine
    if whole.any():
        first, more = column_name(int(np.argmax(whole)), names_of(flow)), int(whole.sum()) - 1
        raise ValueError(
            f"Flow expects numbers that vary continuously, received whole numbers in {first}"
            f"{f' and {more} more columns' if more else ''}: add noise, x + rng.uniform(size=len(x)), which makes "
            "log_prob a lower bound of theirs, or leave them out, or give them as context=."
        )


def _takes_tables(flow):
    """Whether the numbers that it is given are meant to be continuous, and the columns of a table."""
    continuous = flow.dequantize is None and flow.bijector.spec.domain.kind != "whole"
    return continuous and (flow.columns is not None or rows_asked_for(flow) > 0)


# Rows


def rows_asked_for(flow):
    """How many rows the parts of a flow ask to adapt to; 0 if a batch will do."""
    return max(getattr(layer, "rows_to_adapt", 0) for layer in keras_layers(flow))


def _most(flow, x):
    """The same, of rows as large as those of `x`."""
    asked = rows_asked_for(flow)
    return min(asked, max(1, _ENTRIES // max(1, int(np.prod(x.shape[1:])))))


def chosen_rows(flow, x, context):
    """The rows of arrays that a flow adapts to: all, or as many as it asks for, drawn by a fixed seed."""
    most = _most(flow, x)
    if not most or len(x) <= most:
        return x, context
    index = np.sort(np.random.default_rng(0).choice(len(x), most, replace=False))
    return x[index], None if context is None else tree.map_structure(lambda c: c[index], context)


def to_adapt_to(flow, data, first, share):
    """(x, context) that `fit` adapts to: the `first` batch, or more rows of `data`, if the flow asks for them.

    Of arrays all that are trained on, the first `share` of them. Of a data set as many batches as it takes, or the
    first alone if it can be read only once.
    """
    asked = _most(flow, first[0]) if first[0] is not None else 0
    if not asked or hasattr(data, "__next__"):
        return first
    whole, its_context = unpack(data) if isinstance(data, dict) else (data, None)
    if is_array(whole):
        stop = int(len(whole) * share)
        return whole[:stop], rows(its_context, stop)
    pieces, count = [], 0
    for batch in _batches(data):
        pieces.append(flow._check(*peeked(batch)))
        count += len(pieces[-1][0])
        if count >= asked:
            break
    data, contexts = zip(*pieces, strict=True)
    joined = None if contexts[0] is None else tree.map_structure(lambda *c: np.concatenate(c), *contexts)
    data = np.concatenate(data)
    if len(data) >= _FEW:
        refuse_whole(flow, data)
    return data, joined


def _batches(data):
    """The batches of a data set that can be read again; of one with numbers, in an order drawn by a fixed seed."""
    if not isinstance(data, keras.utils.PyDataset):
        return iter(data)
    # The first stays first: `Batches` refuses to begin with another.
    later = np.random.default_rng(0).permutation(np.arange(1, data.num_batches or 1))
    return (data[int(i)] for i in (0, *later))
