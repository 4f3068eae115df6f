"""Checks of the inputs of a layer of a flow, and of the answers of its hooks."""

from flowkit.contract.errors import ContractError, shape_error
from flowkit.contract.noise import count, needs_for
from flowkit.contract.shapes import as_tuple, fits

_FIRST_AXIS = "The first axis is always the batch."
_ONE_AXIS = "The first axis is always the batch: x[:, None] is one number each, x[None] a single row."


def check_shape(layer, shape, built):
    """Raise if data of a (batch, *event) `shape` do not fit a layer's spec, or the shape that it was `built` for."""
    shape, rank = as_tuple(shape), layer.spec.event_rank
    event = shape[1:]
    ranks = (rank,) if isinstance(rank, int) else rank
    allowed = len(event) >= 1 if ranks is None else len(event) in ranks
    if not allowed:
        wanted = "at least 1" if ranks is None else " or ".join(map(str, ranks))
        wanted = f"(batch, *event) with an event of rank {wanted}"
        hint = _without_channels(len(event), ranks) or (_FIRST_AXIS if event else _ONE_AXIS)
        raise ContractError("event rank", layer, expected=wanted, received=f"shape {shape}", hint=hint)
    for axis, (n, m) in enumerate(zip(event, layer.spec.event_multiple or (), strict=False), start=1):
        if n is not None and n % m:
            near = " or ".join(str(size) for size in (n - n % m, n - n % m + m) if size)
            wanted, received = f"axis {axis} to be a multiple of {m}", f"{n} in shape {shape}"
            hint = f"Crop, pad or resize that axis to {near}."
            raise ContractError("event shape", layer, expected=wanted, received=received, hint=hint)
    if built is not None and not fits(event, built[1:]):
        hint = "Pass what x depends on apart, as context=." if len(shape) == 2 else None
        hint = _without_channels(len(event), (len(built) - 1,)) or hint
        wanted = f"an event of shape {built[1:]}, which its weights were made for"
        raise shape_error(layer, wanted, shape, hint)


def refuse_noise(owner, layer):
    """Raise ContractError, in the name of its `owner`, for a layer that draws. Some know once they are built."""
    if layer.spec.noise != "none":
        received = f"{layer!r}, whose spec has noise={layer.spec.noise!r}"
        hint = "An exact log-det needs no noise, such as Continuous(trace='exact')."
        raise ContractError(
            "noise", owner, expected="a bijector that draws nothing", received=received, hint=hint
        )


def _without_channels(received, wanted):
    """Return a hint for events of two axes where three are wanted, which are mostly grey images; or None."""
    if received == 2 and wanted is not None and 3 in wanted and 2 not in wanted:
        return "Images without an axis of channels? x[..., None] adds one, as the last."
    return None


def needs_context(layer):
    """Return the error for a layer that needs a context, and is given none."""
    hint = "Pass context=, or feed {'x': ..., 'context': ...}."
    return ContractError("context", layer, expected="a context, batch first", received="none", hint=hint)


def check_noise(layer, x, inverse, noise):
    """Raise unless a direction that draws is given its numbers, and one that does not is given none."""
    if not layer.spec.draws(inverse=inverse):
        if noise is not None:
            wanted = "no noise: this direction draws nothing"
            raise ContractError("noise", layer, expected=wanted, received="noise=")
        return
    shape = as_tuple(x.shape)
    needs = needs_for(layer, shape, inverse=inverse)
    size = count(needs)
    if noise is None or not fits(as_tuple(noise.shape), (shape[0], size)):
        kinds = " and ".join(need.kind for need in needs)
        wanted = f"noise= of shape ({shape[0] or 'batch'}, {size}), {kinds} numbers"
        received = "none" if noise is None else f"shape {as_tuple(noise.shape)}"
        hint = f"Flow draws it; for one call take .draw_noise(x_shape, seed, inverse={inverse})."
        raise ContractError("noise", layer, expected=wanted, received=received, hint=hint)


def refuse_no_pair(answer):
    """Raise TypeError unless a hook's answer is a pair. A tensor of two rows would unpack silently."""
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        raise TypeError(
            f"a hook's answer: got {type(answer).__name__}, expected the pair (output, log_det). End the hook with "
            "`return y, log_det`."
        )
