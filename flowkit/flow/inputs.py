"""Check the data and contexts that users pass to a built flow, once, as numpy arrays."""

import functools
import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from keras import ops, tree

from flowkit._printable import printable
from flowkit.contract import ContractError, Domain, FlowLayer
from flowkit.contract.adaptation import is_adapted, waits_for_adapt
from flowkit.contract.arguments import shown
from flowkit.contract.columns import column_name
from flowkit.contract.domain import first_and_last
from flowkit.contract.errors import label
from flowkit.contract.shapes import context_shape
from flowkit.data.dataset import LazyImages
from flowkit.data.frame import Columns, is_frame
from flowkit.engines import engine, plain_array
from flowkit.flow.rows import default_batch_size, in_batches, map_leaves, run_without_gradients

if TYPE_CHECKING:
    from flowkit.flow.flow import Flow

# Data


def checked_and_embedded(flow: "Flow", x: Any, context: Any, batch_size: Any = None) -> tuple[Any, Any]:
    """Return checked data, and what the parts of a flow receive of their context; build the flow if necessary.

    Images that stay on the disk are checked when they are read. Raises ContractError if a part waits for `adapt`.
    """
    if isinstance(x, LazyImages):
        # It reads the first one at once, for the shape of all.
        x, context = x.mapped(functools.partial(_check_rows, flow)), check_context(flow, context, len(x))
    else:
        x, context = checked_data(flow, x, context)
    if not flow.built:
        build_on(flow, x, context)
    check_adapted(flow)
    return x, embedded(flow, context, batch_size)


def embedded_context(flow: "Flow", context: Any, batch_size: Any = None, rows: int | None = None) -> Any:
    """Return the embedded context; check it, and its number of rows if `rows` is given."""
    check_adapted(flow)
    return embedded(flow, check_context(flow, context, rows), batch_size)


def checked_data(flow: "Flow", x: Any, context: Any) -> tuple[Any, Any]:
    """Return data and their context as numpy arrays that fit the flow.

    Raises ValueError for data that are not numbers of its kind, and ContractError for a context that does not fit.
    """
    x = _check_rows(flow, as_array(flow, x))
    return x, check_context(flow, context, len(x))


def as_array(flow: "Flow", x: Any) -> Any:
    """Return `x`, or the array of a frame: by the names of the flow's columns if it knows them."""
    if isinstance(x, np.ndarray) or not is_frame(x):
        return x
    return (flow.columns or Columns.of(x)).values(x)


def names_of(flow: "Flow") -> Any:
    """Return the names of the flow's columns, or None."""
    return None if flow.columns is None else flow.columns.names


def is_array(x: Any) -> bool:
    """Return True for numpy arrays and tensors, False for data sets."""
    return hasattr(x, "shape") and hasattr(x, "dtype")


def real_numbers(given: Any, what: str = "data", hint: str = "") -> np.ndarray:
    """Return `given` as a numpy array of real numbers, batch first.

    Raises ValueError for masked entries, text, dates and ragged lists.
    """
    masked = np.ma.is_masked(given)
    try:
        plain = type(given) is np.ndarray and given.flags.writeable
        array = given if plain else plain_array(ops.convert_to_numpy(given), what)
        array = array.astype("float64") if array.dtype.kind == "O" else array
    except (TypeError, ValueError, RuntimeError):  # ragged, symbolic, or objects that are no numbers
        array = np.asarray(None)
    if array.ndim and array.dtype.kind in "biuf" and not masked:
        return array
    if masked:
        got, hint = "a masked array", " Drop the masked rows, or fill them in, x.filled(value)."
    elif isinstance(given, np.ndarray) and given.ndim:
        got = f"an array of {given.dtype}, shape {given.shape}"
    else:
        got = " ".join(shown(given).split())
    raise ValueError(f"Flow: got {got}, expected {what} as an array of numbers, batch first.{hint}")


def row_weights(given: Any, rows: int, what: str) -> np.ndarray:
    """Return weights of rows, float64. Raises ValueError unless they are finite, from 0 up and not all 0."""
    weights = np.asarray(ops.convert_to_numpy(given), "float64")
    if weights.shape != (rows,) or not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
        raise ValueError(
            f"{what}: got {shown(given)}, expected a number from 0 up for each of {rows:,} rows, not all of them 0."
        )
    return weights


def _check_rows(flow, x):
    x = given = real_numbers(x)
    if flow.dequantize is not None:
        x = flow.dequantize.validate(x)
        flow.bijector.check_shape(x.shape)
        return x
    domain, dtype = flow.bijector.spec.domain, flow.compute_dtype
    with np.errstate(over="ignore"):
        x = x.astype(dtype, copy=False) if domain == Domain.REAL else _rounded(x, dtype, domain)
    if not np.isfinite(x).all() and not finite_or_missing(flow, x).all():
        wrong = ~finite_or_missing(flow, x)
        if np.isfinite(given[wrong]).all():
            raise ValueError(
                f"Flow: got numbers beyond the largest of {dtype}, {np.finfo(dtype).max:.3g}, the first "
                f"{_first_place(wrong, names_of(flow))}, expected smaller ones. Divide them, or take their logarithms."
            )
        raise ValueError(
            f"Flow: got {int(wrong.sum())} NaN or infinite entries of {x.size}, the first "
            f"{_first_place(wrong, names_of(flow))}, expected finite data. Drop or repair those rows."
        )
    flow.bijector.check_shape(x.shape)
    if domain != Domain.REAL:
        _refuse_outside(flow, x, domain)
    return x


def _refuse_outside(flow, x, domain):
    """Raise ValueError for an entry outside of a bijector's domain."""
    wrong = outside(x, domain)
    if wrong.any():
        place = tuple(np.argwhere(wrong)[0])
        wanted = domain if domain.columns is None else domain.columns[place[-1]]
        raise ValueError(
            f"Flow: got {x[place]:g} {_first_place(wrong, names_of(flow))}, expected data in {wanted}. Bring these "
            "entries inside, or begin with another bijector (of the zoo: other domains=)."
        )


def finite_or_missing(flow: "Flow", x: np.ndarray) -> np.ndarray:
    """Return which entries of `x` are finite, or NaN in a column that may have missing entries."""
    fine = np.isfinite(x)
    if flow.columns is not None:
        missing = list(flow.columns.missing)
        fine[..., missing] |= np.isnan(x[..., missing])
    return fine


def _first_place(wrong, names):
    """Return in words where the first True of an array is."""
    first = [int(i) for i in np.argwhere(wrong)[0]]
    return f"in row {first[0]} of {column_name(first[1], names)}" if len(first) == 2 else f"at {first}"


def outside(x: np.ndarray, domain: Domain) -> np.ndarray:
    """Return which entries of `x` are outside of a bijector's domain, where its log-det is no number."""
    if domain.kind in ("circle", "simplex") or domain == Domain.REAL or not x.size:
        return np.zeros(x.shape, bool)
    if domain.columns is not None and x.shape[-1] != len(domain.columns):
        raise ValueError(
            f"Flow: got {x.shape[-1]} columns, expected {len(domain.columns)}, one for each of its domains. Give each "
            "column a domain, 'real' for any number."
        )
    # A column's circle is closed: rounding may bring a number to its upper end, which is the lower one.
    at_end = (domain.kinds == "circle") & (x == np.asarray(domain.high, x.dtype))
    # Missing entries are not outside: others that are NaN were refused before.
    return ~(domain.inside(x) | at_end | np.isnan(x))


def _rounded(x, dtype, domain):
    """Return numbers as `dtype`; keep numbers inside an interval inside if they would round to its end."""
    rounded = x.astype(dtype, copy=False)
    intervals = domain.kinds == "interval"
    if len(intervals) not in (1, x.shape[-1]):  # `outside` raises
        return rounded
    first, last = first_and_last(domain.low, domain.high, dtype)
    beyond = intervals & ((rounded < first) | (rounded > last)) & np.isfinite(rounded)
    if not beyond.any():
        return rounded
    inside = (x > domain.low) & (x < domain.high)
    return np.where(beyond & inside, np.clip(rounded, first, last), rounded)


# The flow


def check_adapted(flow: "Flow") -> None:
    """Raise ContractError if a flow is not built, or a part of it waits for `adapt`."""
    if flow.checked_at_load == FlowLayer.weight_loads:
        return
    flow._event()
    warn_of_nan(flow)
    flow.bijector._check_adapted()
    for part in (flow.base, flow.embedding, flow.dequantize):
        if part is not None and not is_adapted(part):
            raise waits_for_adapt(part)
    flow.checked_at_load = FlowLayer.weight_loads


def warn_of_nan(flow: "Flow") -> None:
    """Warn of weights that are NaN, once after weights were loaded or set."""
    if not flow.has_new_weights:
        return
    values = [(weight.path, engine.known(weight.value)) for weight in flow.weights]
    if any(value is None for _, value in values):  # a program is compiled
        return
    flow.has_new_weights = False
    if names := [printable(path) for path, value in values if np.isnan(value).any()]:
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        warnings.warn(
            f"{label(flow)}: got NaN in the weights {', '.join(names[:5])}{more}, expected numbers. Load an earlier "
            "file, or train again.",
            stacklevel=4,
        )


def build_on(flow: "Flow", x: Any, context: Any) -> None:
    """Build a flow for checked data."""
    shape = (None, *x.shape[1:])
    flow.build(shape if context is None else {"x": shape, "context": context_shape(context)})


# The context


def context_error(flow, expected, received, hint=None):
    return ContractError("context", flow, expected=expected, received=received, hint=hint)


def check_context(flow: "Flow", context: Any, samples: int | None = None) -> Any:
    """Return the context as numpy, or None.

    Raises ContractError if it is missing or not read, has not one row for each of `samples`, holds NaN, or names a
    class that is not there, and ValueError if it holds no numbers.
    """
    kind = flow.context_kind
    if context is None:
        if kind == "required":
            hint = "A data set yields it as ({'x': ..., 'context': ...},)."
            if flow.context_columns is not None:
                hint = f"Pass a frame with the columns {list(flow.context_columns.names)}."
            raise context_error(flow, "context=, batch first", "none", hint)
        return None
    if kind == "none":
        hint = (
            "To have it read, make the flow with context=, as flowkit.zoo.nsf(context=3), or with a network of "
            "context='required', as Coupling(MLP([64], context='required')). Or leave context= out."
        )
        wanted = "none, since neither its bijector nor its base reads one"
        raise context_error(flow, wanted, type(context).__name__, hint)
    if is_frame(context):
        try:
            context = (flow.context_columns or Columns.of(context)).values(context)
        except ValueError as error:  # other columns, or some that hold no numbers
            raise ValueError(f"context: {error}") from None
    hint = " Labels are whole numbers from 0; context=[1] is one row."
    if isinstance(context, dict):
        context = {key: real_numbers(part, "context", hint) for key, part in context.items()}
    else:
        context = real_numbers(context, "context", hint)
    _check_classes(flow, context)
    # Floats in the flow's precision, as Keras passes them on in training.
    context = map_leaves(
        lambda c: c.astype(flow.compute_dtype, copy=False) if c.dtype.kind == "f" else c, context
    )
    parts = tree.flatten(context)
    if any(part.dtype.kind == "f" and not np.isfinite(part).all() for part in parts):
        raise context_error(flow, "finite numbers", "NaN or infinite ones")
    counts = {len(part) for part in parts}
    if len(counts) != 1 or (samples is not None and counts != {samples}):
        wanted = "as many rows in each part" if samples is None else f"one row for each of {samples} samples"
        raise context_error(flow, wanted, f"{' and '.join(map(str, sorted(counts)))} rows")
    return context


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
        wanted = f"integer labels {'(batch, ...)' if words else '(batch,)'} in 0..{classes - 1}"
        raise context_error(flow, wanted, f"{context.dtype} of shape {context.shape}{span}")


def embedded(flow: "Flow", context: Any, batch_size: Any) -> Any:
    """Return what the parts of a flow receive for a checked context, as numpy: each row once for a whole call."""
    if flow.embedding is None or context is None:
        return context
    if batch_size is None:
        entries = sum(math.prod(part.shape[1:]) for part in tree.flatten(context))
        batch_size = default_batch_size(max(entries, math.prod(flow._event())))

    def embed(start, stop, piece):
        return run_without_gradients(flow, flow.embed, piece)

    return in_batches(flow, embed, context, batch_size)
