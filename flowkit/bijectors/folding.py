"""The parts of a chain as units: two parts cost less as one if a scale goes into the matrix that follows it."""

from flowkit.contract.derived import as_keyword, goes_with, once
from flowkit.contract.shapes import as_tuple


def fold(parts):
    """Return `parts` in their order as tuples: of two if the first may leave its scale to the second, of one otherwise.

    The first has `_leave_scale(derived)`, which returns (the rest of what it derives, the scale, its log-det), the
    second `_take_scale(derived, scale, log_det, inverse)`, which returns what it derives with that scale in it.
    """
    units = []
    for part in parts:
        before = units[-1][0] if units and len(units[-1]) == 1 else None
        if _has(part, "_take_scale") and _has(before, "_leave_scale"):
            units[-1] = (before, part)
        else:
            units.append((part,))
    return units


def _has(part, method):
    """Return True if a part has the method and no subclass has replaced the hooks that it was written for."""
    hooks = ("_forward", "_inverse", "_derive")
    return hasattr(part, method) and all(goes_with(type(part), method, hook) for hook in hooks)


def derived_of(unit, x_shape, inverse):
    """Return what the parts of a unit derive from their weights, in their order, for inputs of `x_shape`."""
    name = tuple(unit), as_tuple(x_shape[1:]), inverse  # a part that comes twice may see two shapes
    return once(name, lambda: _derived_of(unit, x_shape, inverse))


def _derived_of(unit, x_shape, inverse):
    derived = [part._derive(x_shape, inverse) for part in unit]
    if len(unit) > 1:
        left, scale, log_det = unit[0]._leave_scale(derived[0])
        derived = [left, unit[1]._take_scale(derived[1], scale, log_det, inverse)]
    return derived


def run_units(units, derived, x, context, inverse):
    """Run the parts of `units` one after another: (output, list of log-dets).

    `derived[i]` is what the parts of unit i derive from their weights, None if they derive it themselves.
    """
    log_dets, order = [], list(zip(units, derived, strict=True))
    for unit, own in reversed(order) if inverse else order:
        if own is None:
            own = derived_of(unit, x.shape, inverse) if len(unit) > 1 else [None]
        steps = list(zip(unit, own, strict=True))
        for part, one in reversed(steps) if inverse else steps:
            x, log_det = part.run(x, context, inverse=inverse, **as_keyword(one))
            log_dets.append(log_det)
    return x, log_dets
