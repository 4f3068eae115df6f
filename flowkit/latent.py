"""Moves in the space of latents: between two events, along an attribute, at random on some levels.

Everything here encodes, moves the latents, and decodes. The axis of the positions comes first, the batch after
it: (steps, n, *event). An event without a batch axis gives (steps, *event). Events are data as stored, uint8
images for a flow with `dequantize`; a flow that needs a context takes one row of it for each event, which is
held while its latents move. `check` is that of `flow.encode`.
"""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from keras import ops

from flowkit.bijectors.levels import level_sizes
from flowkit.contract import Context, Tensor
from flowkit.contract.arguments import checked, whole, words
from flowkit.contract.shapes import tiled
from flowkit.flow import Flow, inputs, sampling
from flowkit.flow.round_trip import Check

__all__ = ["attribute_direction", "interpolate", "manipulate", "resample", "slerp"]


@checked
def interpolate(
    flow: Flow,
    x0: Tensor,
    x1: Tensor,
    steps: Annotated[int, whole(2)],
    *,
    context: Context = None,
    path: Annotated[str, words("linear", "spherical")] = "linear",
    batch_size: int | None = None,
    check: Check = "warn",
) -> np.ndarray:
    """Return `steps` events on the way from `x0` to `x1`, both included: (steps, n, *event).

    - `path="linear"`: z(t) = (1 - t) z0 + t z1, as published (Kingma & Dhariwal, 2018, section 6.2).
    - `path="spherical"`: `slerp`. Half-way between independent latents the straight line is shorter by
      sqrt(2) than either, as if sampled at temperature 0.7; the arc keeps their length.

    Raises ValueError for fewer than 2 steps, another path, or ends that differ in shape.

    >>> from flowkit import Flow
    >>> from flowkit.bijectors import Exp, Inverse
    >>> flow = Flow(Inverse(Exp()))  # latents are logarithms, so the half-way is the geometric mean
    >>> flow.build((None, 1))
    >>> interpolate(flow, np.array([1.0]), np.array([4.0]), steps=3).round(4).tolist()
    [[1.0], [2.0], [4.0]]
    """
    (x0, single), (x1, _) = _batch(flow, x0), _batch(flow, x1)
    if x0.shape != x1.shape:
        raise ValueError(f"interpolate: got shapes {x0.shape} and {x1.shape}, expected ends of one shape.")
    z0, z1 = (flow.encode(x, context, batch_size=batch_size, check=check) for x in (x0, x1))
    z = slerp(z0, z1, steps) if path == "spherical" else np.linspace(z0, z1, steps, dtype=z0.dtype)
    return _decode(flow, z, context, batch_size, single, check)


def attribute_direction(
    flow: Flow,
    x: Tensor,
    has_attribute: Sequence[bool],
    *,
    context: Context = None,
    batch_size: int | None = None,
    check: Check = "warn",
) -> np.ndarray:
    """Return mean(z of x with the attribute) - mean(z of x without it): one latent event.

    `has_attribute`: one truth value for each event of `x`, e.g. `labels == 3`. Other differences of the two groups
    are part of the direction too. Kingma & Dhariwal, Glow (2018), section 6.2.

    Raises ValueError if either group is empty.

    >>> from flowkit import Flow
    >>> from flowkit.bijectors import Shift
    >>> x = np.array([[0.0, 1.0], [2.0, 1.0], [4.0, 5.0]])
    >>> attribute_direction(Flow(Shift(1.0)), x, [False, False, True]).tolist()
    [3.0, 4.0]
    """
    has = np.asarray(has_attribute)
    if has.shape != (len(x),) or not np.isin(has, (0, 1)).all():
        raise ValueError(
            f"has_attribute: got {has.dtype} of shape {has.shape}, expected a truth value for each of {len(x)} events."
        )
    has = has.astype(bool)
    if has.all() or not has.any():
        raise ValueError(
            f"has_attribute: got {has.sum()} of {len(has)} events with the attribute, expected some with, some without."
        )
    z = flow.encode(x, context, batch_size=batch_size, check=check)
    means = [z[rows].mean(axis=0, dtype="float64") for rows in (has, ~has)]
    return (means[0] - means[1]).astype(z.dtype)


def manipulate(
    flow: Flow,
    x: Tensor,
    direction: np.ndarray,
    amounts: Sequence[float],
    *,
    context: Context = None,
    batch_size: int | None = None,
    check: Check = "warn",
) -> np.ndarray:
    """Return `x` with z + amount * direction, for each amount: (len(amounts), n, *event).

    An amount of 0 is `x` itself; with an `attribute_direction` 1 carries the mean without the attribute to the
    mean with it. (The published demo's slider goes from -1.6 to 1.6.)

    Raises ValueError if `direction` is not one latent event, or `amounts` not a list of finite numbers.

    >>> from flowkit import Flow
    >>> from flowkit.bijectors import Scale
    >>> flow = Flow(Scale(np.log(2)))
    >>> flow.build((None, 2))
    >>> manipulate(flow, np.array([1.0, 1.0]), np.array([2.0, 0.0]), [-1, 0, 1]).tolist()
    [[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]]
    """
    amounts = np.asarray(amounts, "float64")
    if amounts.ndim != 1 or not len(amounts) or not np.isfinite(amounts).all():
        raise ValueError(f"amounts: got {amounts.tolist()}, expected a list of finite numbers.")
    x, single = _batch(flow, x)
    z = flow.encode(x, context, batch_size=batch_size, check=check)
    direction = np.asarray(direction, z.dtype)
    if direction.shape != z.shape[1:]:
        raise ValueError(
            f"direction: got shape {direction.shape}, expected that of one latent event, {z.shape[1:]}."
        )
    amounts = amounts.astype(z.dtype).reshape(-1, *(1,) * z.ndim)
    return _decode(flow, z + amounts * direction, context, batch_size, single, check)


def resample(
    flow: Flow,
    x: Tensor,
    levels: int | Sequence[int],
    *,
    temperature: float = 1.0,
    seed: int | None = None,
    context: Context = None,
    batch_size: int | None = None,
    check: Check = "warn",
) -> np.ndarray:
    """Return `x` with the latents of the chosen levels drawn anew, the others its own: (n, *event).

    - `levels`: one number or several, in the order of `split_latents`: 0 leaves first and holds the
      finest detail, -1 is the last, which holds the subject of the image.
    - `temperature`, `seed`: as for `flow.sample`; one temperature, or one for each level of the flow.

    Raises ValueError for a flow without levels, and for levels that it does not have.

    >>> from flowkit import zoo
    >>> flow = zoo.glow(levels=2, steps=1, width=4)
    >>> images = np.random.default_rng(0).integers(0, 256, (8, 4, 4, 1), dtype="uint8")
    >>> bool((resample(flow.adapt(images), images, []) == images).all())
    True
    """
    x, single = _batch(flow, x)
    z = flow.encode(x, context, batch_size=batch_size, check=check)
    sizes = level_sizes(flow.bijector, "levels")
    known = range(-len(sizes), len(sizes))
    levels = np.atleast_1d(levels).tolist()
    if any(isinstance(level, bool) or level not in known for level in levels):
        raise ValueError(f"levels: got {levels}, expected whole numbers in 0..{len(sizes) - 1}.")
    drawn = np.zeros(len(sizes), bool)
    drawn[[int(level) for level in levels]] = True
    fresh = sampling.latents(
        flow, len(z), inputs.embedded_context(flow, context, batch_size), temperature, seed
    )
    z = np.where(np.repeat(drawn, sizes), fresh, z)
    return _decode(flow, z[None], context, batch_size, single, check)[0]


def slerp(z0: Tensor, z1: Tensor, steps: int) -> np.ndarray:
    """Return the arcs from each row of `z0` to that of `z1`: (steps, *z0.shape), with the exact ends.

    z(t) = |z(t)| (cos(t a) u + sin(t a) v), a the angle between z0 and z1, u the direction of z0, and v that
    of the part of z1 across it; the length |z(t)| goes linearly from one to the other. For unit vectors it is
    sin((1 - t) a) / sin(a) z0 + sin(t a) / sin(a) z1 (Shoemake, 1985), without its division by zero:
    parallel or opposite vectors, and a zero vector with any other, are joined by the straight line.

    >>> slerp(np.array([[1.0, 0.0]]), np.array([[0.0, 2.0]]), 3).round(3).tolist()
    [[[1.0, 0.0]], [[1.061, 1.061]], [[0.0, 2.0]]]
    """
    a, b = (np.asarray(z, "float64").reshape(len(z), -1) for z in (z0, z1))
    length_a, length_b = _length(a), _length(b)
    u, w = _unit(a), _unit(b)
    along = (u * w).sum(axis=1, keepdims=True)
    across = w - along * u
    # Of a part across that is smaller than this, rounding has taken half the digits.
    flat = _length(across) < np.sqrt(np.finfo("float64").eps)
    angle, v = np.arctan2(_length(across), along), _unit(across)
    t = np.linspace(0, 1, steps).reshape(-1, 1, 1)
    arc = ((1 - t) * length_a + t * length_b) * (np.cos(t * angle) * u + np.sin(t * angle) * v)
    z = np.where(flat | (length_a == 0), (1 - t) * a + t * b, arc).reshape(steps, *np.shape(z0))
    z = z.astype(np.asarray(z0).dtype)
    z[0], z[-1] = z0, z1
    return z


def _length(z):
    return np.linalg.norm(z, axis=1, keepdims=True)


def _unit(z):
    """Return rows of length 1; rows of zeros stay zeros."""
    length = _length(z)
    return z / np.where(length > 0, length, 1)


def _batch(flow, x):
    """Return `x` as numpy with a batch axis, and True if it came without one."""
    x = ops.convert_to_numpy(x)
    single = x.shape == flow.event_shape
    return (x[None] if single else x), single


def _decode(flow, z, context, batch_size, single, check):
    """Return the data of latents (positions, n, *latent), each position with the same context."""
    flat, context = z.reshape(-1, *z.shape[2:]), tiled(context, len(z))
    x = np.asarray(flow.decode(flat, context, batch_size=batch_size, check=check))
    x = x.reshape(*z.shape[:2], *x.shape[1:])
    return x[:, 0] if single else x
