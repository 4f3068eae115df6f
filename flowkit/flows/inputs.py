"""What a flow is given: data, context and data sets, taken apart and checked."""

import keras
import numpy as np
from keras import ops, tree

from flowkit.contract import ContractError
from flowkit.contract.shapes import as_tuple
from flowkit.flows.before_training import check_division


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


def count(context):
    """How many rows a context has."""
    return len(tree.flatten(context)[0])


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
    elif not hasattr(dataset, "__next__"):
        first = next(iter(dataset))
    else:
        generator, first = dataset, next(dataset)

        def again():
            yield first
            yield from generator

        dataset = again()
    return unpack(first[0] if isinstance(first, tuple | list) else first), dataset


def to_fit_on(flow, x, y, context, sample_weight, batch_size, validation_split):
    """(the first batch's x and context, what Keras is to fit on, its target): checked, arrays as well as data sets."""
    if isinstance(x, dict):
        x, context = unpack(x)
    if not is_array(x):
        return *peek_checked(flow, x), y
    x, context = flow._check(x, y if context is None else context)
    size = batch_size or 32  # Keras's default
    check_division(len(x) - int(len(x) * validation_split), size)
    return (x[:size], rows(context, size)), pack(x, context), _target(len(x), sample_weight)


def to_validate_on(flow, data, batch_size):
    """What Keras is to validate on: x, or (x, context), or (x, context, sample_weight), or a data set; checked."""
    if is_array(data):
        check_division(len(data), batch_size)
        return pack(*flow._check(data, None))
    if isinstance(data, tuple | list) and all(part is None or is_array(part) for part in data):
        x, context, weights = (*data, None, None)[:3]
        check_division(len(x), batch_size)
        return pack(*flow._check(x, context)), _target(len(x), weights), weights
    return peek_checked(flow, data)[1]


def to_score_on(flow, x, y, context, sample_weight):
    """(what Keras is to score, its target), and not checked yet."""
    if isinstance(x, dict):
        x, context = unpack(x)
    if not is_array(x):
        return x, y
    return pack(x, y if context is None else context), _target(len(x), sample_weight)


def peek_checked(flow, dataset):
    """The first batch's x and context, checked, and the data set as if untouched."""
    (x, context), dataset = peek(dataset)
    return flow._check(x, context), dataset


def _target(count, sample_weight):
    """What Keras is given as the target: it drops weights that come without one. The loss does not look at it."""
    return None if sample_weight is None else np.zeros(count, "float32")


def check_finite(x, dtype):
    """`x` as a numpy array of `dtype`. Raises ValueError for NaN and infinity."""
    x = np.asarray(ops.convert_to_numpy(x), dtype)
    if not np.isfinite(x).all():
        bad = int((~np.isfinite(x)).sum())
        raise ValueError(
            f"Flow expects finite data, received {bad} NaN or infinite entries of {x.size}: "
            "drop or repair those rows."
        )
    return x


def refuse_other_classes(bijector, base):
    """Raise ValueError if both read labels, and know of different classes."""
    here, there = (getattr(part, "num_classes", None) for part in (bijector, base))
    if None not in (here, there) and here != there:
        raise ValueError(
            f"Flow expects a bijector and a base of the same classes, since both are given the same labels; received "
            f"num_classes={here} and num_classes={there}. Make them equal."
        )


def context_kind(flow):
    """ "none", "optional" or "required": the most that its bijector, its base or the flow itself asks for."""
    kinds = {flow.bijector.spec.context, *(getattr(part, "context", "none") for part in (flow.base, flow))}
    return next(word for word in ("required", "optional", "none") if word in kinds)


def check_context(flow, context, samples=None):
    """The context as numpy, None if the flow takes none: neither its bijector nor its base nor itself.

    Raises ContractError if it is missing, has not one row for each of `samples`, holds NaN, or names a
    class that is not there.
    """
    kind = context_kind(flow)
    classes = flow.num_classes
    if context is None and kind == "required":
        raise ContractError(
            "context",
            flow,
            expected="context=, batch first",
            received="none",
            hint="A data set yields it as ({'x': ..., 'context': ...},).",
        )
    if context is None or kind == "none":
        return None
    context = tree.map_structure(lambda c: np.asarray(ops.convert_to_numpy(c)), context)
    if classes is not None and isinstance(context, np.ndarray):
        whole = context.ndim == 1 and np.issubdtype(context.dtype, np.integer)
        if not whole or (context.size and not 0 <= context.min() <= context.max() < classes):
            span = f" with values {context.min()}..{context.max()}" if context.size else ""
            raise ContractError(
                "context",
                flow,
                expected=f"integer labels (batch,) in 0..{classes - 1}",
                received=f"{context.dtype} of shape {context.shape}{span}",
            )
    parts = tree.flatten(context)
    if any(part.dtype.kind == "f" and not np.isfinite(part).all() for part in parts):
        raise ContractError("context", flow, expected="finite numbers", received="NaN or infinite ones")
    if any(part.ndim == 0 for part in parts):
        raise ContractError("context", flow, expected="a context, batch first", received="a single number")
    counts = {len(part) for part in parts}
    if len(counts) != 1 or (samples is not None and counts != {samples}):
        raise ContractError(
            "context",
            flow,
            expected="as many rows in each part"
            if samples is None
            else f"one row for each of {samples} samples",
            received=f"{' and '.join(map(str, sorted(counts)))} rows",
        )
    return context
