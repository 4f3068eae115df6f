"""What a flow is given: data, context and data sets, taken apart and checked."""

import keras
import numpy as np
from keras import ops, tree

from flowkit.contract import Domain
from flowkit.contract.arguments import shown
from flowkit.contract.columns import column_name
from flowkit.contract.shapes import as_tuple
from flowkit.flow.context import context_kind, refuse_unread
from flowkit.flow.in_a_group import check_division

_REAL = (int, float, np.integer, np.floating, np.bool_)


def unpack(inputs):
    """(x, context) of `x` or `{"x": ..., "context": ...}`: tensors, or shapes."""
    if not isinstance(inputs, dict):
        return inputs, None
    if "x" not in inputs or not {"x", "context"} >= set(inputs):
        raise ValueError(f"Flow expects a dict of 'x' and 'context', received the keys {sorted(inputs)}.")
    return inputs["x"], inputs.get("context")


def pack(x, context):
    """The inverse of `unpack`."""
    return x if context is None else {"x": x, "context": context}


def plain_shape(shape):
    """A shape, or a dict of shapes, as tuples of int and None; None stays None."""
    if isinstance(shape, dict):
        return {key: as_tuple(value) for key, value in shape.items()}
    return None if shape is None else as_tuple(shape)


def is_array(x):
    """True for numpy arrays and tensors, False for data sets."""
    return hasattr(x, "shape") and hasattr(x, "dtype")


def rows(context, stop):
    """The first `stop` rows of a context, a dict of them, or None."""
    return None if context is None else tree.map_structure(lambda c: c[:stop], context)


def peek(dataset):
    """(the first batch's x and context, the data set as if untouched)."""
    if dataset is None:
        raise ValueError(
            "Flow expects data, received none: only fit with an objective that needs none, such as "
            "flowkit.objectives.ReverseKL, goes without."
        )
    if not hasattr(dataset, "__iter__") or isinstance(dataset, list | tuple):
        raise ValueError(
            f"Flow expects data as a numpy array, a tensor or a data set that Keras takes, received "
            f"{type(dataset).__name__}."
        )
    if isinstance(dataset, keras.utils.PyDataset):
        first = dataset[0]
    else:
        first = next(iter(dataset), None)
        if first is None:
            raise ValueError(
                "Flow expects a data set of at least one batch, received one that has none left. A generator can be "
                "read once: make it anew for each fit or evaluate."
            )
    if hasattr(dataset, "__next__"):
        generator = dataset

        def again():
            yield first
            yield from generator

        dataset = again()
    return peeked(first), dataset


def peeked(batch):
    """(x, context) of a batch of a data set."""
    return unpack(batch[0] if isinstance(batch, tuple | list) else batch)


def refuse_empty(x):
    """Raise ValueError for an array without rows, or a single number."""
    if tuple(x.shape)[:1] in ((), (0,)):
        raise ValueError(
            f"Flow expects data of at least one row, received an array of shape {tuple(x.shape)}."
        )


def to_fit_on(flow, x, y, context, sample_weight, batch_size, validation_split):
    """(the first batch's x and context, what Keras is to fit on, its target): checked, arrays as well as data sets."""
    if not is_array(x):
        (first, its_context), x = peek(x)
        refuse_unread(flow, its_context)
        return flow._check(first, its_context), x, y
    refuse_empty(x)
    x, context = flow._check(x, _labels(flow, y) if context is None else context)
    size = batch_size or 32  # Keras's default
    check_division(len(x) - int(len(x) * validation_split), size)
    return (x[:size], rows(context, size)), pack(x, context), _target(len(x), sample_weight)


def to_validate_on(flow, data, batch_size):
    """What Keras is to validate on: x, or (x, context), or (x, context, sample_weight), or a data set; checked."""
    if isinstance(data, tuple | list) and len(data) == 1:
        (data,) = data
    if isinstance(data, dict):
        data = unpack(data)
    data = flow._as_array(data)
    if is_array(data):
        refuse_empty(data)
        check_division(len(data), batch_size)
        return pack(*flow._check(data, None))
    if isinstance(data, tuple | list) and data and is_array(first := flow._as_array(data[0])):
        x, context, weights = (first, *data[1:], None, None)[:3]
        context = _labels(flow, context)
        refuse_empty(x)
        check_division(len(x), batch_size)
        return pack(*flow._check(x, context)), _target(len(x), weights), weights
    return peek_checked(flow, data)[1]


def to_score_on(flow, x, y, context, sample_weight):
    """(what Keras is to score, its target), and not checked yet."""
    if isinstance(x, dict):
        x, context = unpack(x)
    x = flow._as_array(x)
    if not is_array(x):
        return x, y
    refuse_empty(x)
    return pack(x, _labels(flow, y) if context is None else context), _target(len(x), sample_weight)


def _labels(flow, y):
    """The context that `y` is: data come with labels, of which a flow that reads no context need not know."""
    return None if context_kind(flow) == "none" else y


def peek_checked(flow, dataset):
    """The first batch's x and context, checked, and the data set as if untouched."""
    (x, context), dataset = peek(dataset)
    return flow._check(x, context), dataset


def ready_on(flow, data, batch_size):
    """`data`, arrays or a data set, as if untouched: checked, and the flow adapted and built for them.

    An engine that traces a step cannot ask there whether the flow is adapted.
    """
    x, context = unpack(data)
    x = flow._as_array(x)
    if is_array(x):
        refuse_empty(x)
        x, context = flow._check(x, context)
        check_division(len(x), batch_size)
        data = pack(x, context)
    else:
        (x, context), data = peek_checked(flow, data)
    flow._build_on(x, context)
    flow._check_adapted()
    return data


def _target(count, sample_weight):
    """What Keras is given as the target: it drops weights that come without one. The loss does not look at it."""
    return None if sample_weight is None else np.zeros(count, "float32")


def refuse_other_domain(bijector, base):
    """Raise ValueError if a base of all real numbers would draw latents that a bijector does not give."""
    codomain = bijector.spec.codomain
    if codomain != Domain.REAL and getattr(base, "domain", Domain.REAL) == Domain.REAL:
        raise ValueError(
            f"Flow expects a bijector onto the numbers that its base draws, {Domain.REAL}, received one onto "
            f"{codomain}. A bijector goes from data to latents: turn it round, with Inverse, or give a base such as "
            "Uniform(0.0, 1.0)."
        )


def check_domain(x, domain, names=None):
    """Raise ValueError if the array `x` has entries outside of a bijector's domain, where its log-det is no number."""
    if domain.kind in ("circle", "simplex") or domain == Domain.REAL or not x.size:
        return
    if domain.columns is not None and x.shape[-1] != len(domain.columns):
        raise ValueError(
            f"Flow expects {len(domain.columns)} columns, as many as it has domains, received {x.shape[-1]}: give a "
            "domain for each, 'real' for those that may be anything."
        )
    low, high = (np.asarray(end, x.dtype) for end in (domain.low, domain.high))
    if domain.kind == "whole":
        inside = (x >= low) & (x <= high) & (x == np.floor(x))
    else:
        # A column's circle is closed: its upper end, to which rounding may have brought a number, is the lower one.
        closed = np.array([column.kind == "circle" for column in domain.columns or [domain]])
        inside = np.where(closed, (x >= low) & (x <= high), (x > low) & (x < high))
    if not inside.all():
        place = tuple(int(i) for i in np.argwhere(~inside)[0])
        table = x.ndim == 2 and (names is not None or domain.columns is not None)
        where = f"in row {place[0]} of {column_name(place[1], names)}" if table else f"at {list(place)}"
        more = int((~inside).sum()) - 1
        wanted = domain if domain.columns is None else domain.columns[place[-1]]
        turn = ""
        if wanted.kind == "circle":
            turn = f", as {wanted.low:g} + (x - {wanted.low:g}) % {wanted.high - wanted.low:g}"
        raise ValueError(
            f"Flow expects data in {wanted}, which its bijector maps from, received {x[place]:g} {where}"
            f"{f' and {more} more such entries of {x.size}' if more else ''}. Bring them inside{turn}, or begin with "
            "another bijector (of the zoo: other domains=)."
        )


def check_finite(given, dtype, names=None):
    """`x` as a numpy array of `dtype`. Raises ValueError for NaN and infinity, and for what is no array of numbers."""
    x = real_numbers(given).astype(dtype, copy=False)
    finite = np.isfinite(x)
    if not finite.all():
        where = ""
        if x.ndim == 2:
            row, column = (int(i) for i in np.argwhere(~finite)[0])
            where = f", the first in row {row} of {column_name(column, names)}"
        raise ValueError(
            f"Flow expects finite data, received {int((~finite).sum())} NaN or infinite entries of {x.size}{where}: "
            "drop or repair those rows."
        )
    return x


def real_numbers(given, what="data"):
    """Return `given` as a numpy array of real numbers, batch first.

    Raises ValueError for what numpy would convert silently: masked entries, complex numbers, text, dates.
    """
    if np.ma.is_masked(given):
        count = int(np.ma.count_masked(given))
        raise ValueError(
            f"Flow expects {what} as an array of numbers, received a masked array with {count} masked entries: drop "
            "those rows, or fill them in, x.filled(value)."
        )
    try:
        array = np.asarray(ops.convert_to_numpy(given))
    except (TypeError, ValueError, RuntimeError):  # ragged or symbolic
        array = np.asarray(None)
    kind = array.dtype.kind
    if kind == "V" and keras.backend.is_float_dtype(array.dtype.name):  # bfloat16
        return array.astype("float32")
    wrong = next((place for place, entry in _entries(array, kind) if not isinstance(entry, _REAL)), None)
    if wrong is None and array.ndim and kind in "biufO":
        return array.astype("float64") if kind == "O" else array
    where = ""
    if array.ndim and wrong is not None:
        where = f" The first entry that is no number is {shown(array[wrong])}, at {list(wrong)}."
    raise ValueError(
        f"Flow expects {what} as an array of numbers, batch first, received {_described(given)}.{where}"
    )


def _described(given):
    if isinstance(given, np.ndarray) and given.ndim:
        return f"an array of {given.dtype}, shape {given.shape}"
    return " ".join(shown(given).split())


def _entries(array, kind):
    """The entries of an array that may hold anything, with their places."""
    return np.ndenumerate(array) if kind in "OSU" else ()
