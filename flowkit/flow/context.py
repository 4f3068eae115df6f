"""What a flow is given beside the data: the context, checked."""

import warnings

import numpy as np
from keras import ops, tree

from flowkit.contract import ContractError
from flowkit.data.frame import Columns, is_frame


def refuse_other_classes(bijector, base):
    """Raise ValueError if both read labels, and know of different classes."""
    here, there = (getattr(part, "num_classes", None) for part in (bijector, base))
    if None not in (here, there) and here != there:
        raise ValueError(
            f"Flow expects a bijector and a base of the same classes, since both are given the same labels; received "
            f"num_classes={here} and num_classes={there}. Make them equal."
        )


def needed_by(*parts):
    """ "required", "optional" or "none": whether the parts read a context."""
    kinds = {
        part.spec.context if hasattr(part, "spec") else getattr(part, "context", "none") for part in parts
    }
    return next(word for word in ("required", "optional", "none") if word in kinds)


def context_kind(flow):
    """ "required", "optional" or "none": the most that its bijector, its base or the flow itself asks for."""
    return needed_by(flow.bijector, flow.base, flow)


def context_as_array(flow, context):
    """`context`, or the array of a frame: by the names of the flow's columns of context if it knows them.

    A list of numbers is an array, too. Raises ValueError for other columns, and for some that hold no numbers.
    """
    context = _listed(context)
    if not is_frame(context):
        return context
    try:
        return (flow.context_columns or Columns.of(context)).values(context)
    except ValueError as error:
        raise ValueError(f"context: {error}") from None


def _listed(context):
    """The array of a list of numbers, or of lists of them; anything else as it is."""
    if not isinstance(context, list | tuple):
        return context
    if not all(isinstance(number, int | float | np.number) for number in tree.flatten(context)):
        return context
    try:
        return np.asarray(context)
    except ValueError:
        raise ValueError("context: expected lists of one length, received some of several.") from None


def check_context(flow, context, samples=None):
    """The context as numpy, None if the flow takes none: neither its bijector nor its base nor itself.

    Raises ContractError if it is missing, has not one row for each of `samples`, holds NaN, or names a
    class that is not there.
    """
    kind = context_kind(flow)
    if context is None and kind == "required":
        raise ContractError(
            "context",
            flow,
            expected="context=, batch first",
            received="none",
            hint="A data set yields it as ({'x': ..., 'context': ...},).",
        )
    if context is not None and kind == "none":
        warnings.warn(
            "a context was given, and neither the bijector nor the base of this flow reads one: it is left out. Give a "
            "conditioner context='required', as in Coupling(MLP(context='required')), or leave the context out.",
            stacklevel=2,
        )
    if context is None or kind == "none":
        return None
    context = context_as_array(flow, context)
    if any(np.ma.is_masked(part) for part in tree.flatten(context)):
        raise ContractError(
            "context",
            flow,
            expected="numbers",
            received="a masked array",
            hint="Drop its rows, or fill them in: context.filled(value).",
        )
    context = tree.map_structure(lambda c: np.asarray(ops.convert_to_numpy(c)), context)
    for part in tree.flatten(context):
        if part.dtype.kind in "cOSUMm":
            raise ContractError(
                "context",
                flow,
                expected="numbers",
                received=f"{part.dtype}",
                hint="Give labels as whole numbers from 0.",
            )
    if any(part.ndim == 0 for part in tree.flatten(context)):
        raise ContractError(
            "context",
            flow,
            expected="a context, batch first",
            received="a single number",
            hint="context=[1] is one row; sample(n, context) draws n for each.",
        )
    _check_classes(flow, context)
    context = tree.map_structure(lambda c: _in_precision(c, flow.compute_dtype), context)
    parts = tree.flatten(context)
    if any(part.dtype.kind == "f" and not np.isfinite(part).all() for part in parts):
        raise ContractError("context", flow, expected="finite numbers", received="NaN or infinite ones")
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


def refuse_unread(flow, context):
    """Raise ContractError for a context that a flow is to be trained with and would not read: says how it would."""
    if context is None or context_kind(flow) != "none":
        return
    shape = tree.map_structure(lambda part: tuple(np.shape(part)), _listed(context))
    if isinstance(shape, dict):
        asked = "context=1, embedding=a model that takes the dict"
    elif len(shape) == 1:
        asked = "context=1, embedding=keras.layers.Embedding(classes, 8)"
    else:
        asked = f"context={shape[-1]}"
    raise ContractError(
        "context",
        flow,
        expected="none, since neither its bijector nor its base reads one",
        received=f"one of shape {shape}",
        hint=f"To have it read, make the flow as flowkit.zoo.nsf({asked}), or of parts of your own with a network of "
        "context='required', as Coupling(MLP([64], context='required')). Or leave context= out.",
    )


def _in_precision(array, dtype):
    """Floats in the flow's precision, as Keras hands them on in training."""
    return array.astype(dtype, copy=False) if array.dtype.kind == "f" else array


def _check_classes(flow, context):
    """Raise ContractError for labels that name no class, if the flow knows how many there are."""
    classes = flow.num_classes
    if classes is None or not isinstance(context, np.ndarray):
        return
    # A table of Keras's takes labels of any shape, such as the words of a text.
    words = flow.embedding is not None and getattr(flow.embedding, "num_classes", None) is None
    whole = np.issubdtype(context.dtype, np.integer) and (words or context.ndim == 1)
    if not whole or (context.size and not 0 <= context.min() <= context.max() < classes):
        span = f" with values {context.min()}..{context.max()}" if context.size else ""
        raise ContractError(
            "context",
            flow,
            expected=f"integer labels {'(batch, ...)' if words else '(batch,)'} in 0..{classes - 1}",
            received=f"{context.dtype} of shape {context.shape}{span}",
        )
