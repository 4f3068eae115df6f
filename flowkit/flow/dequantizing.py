"""The dequantizer of a flow: which surjections may be one, and its continuous values as numpy."""

from typing import Any

import numpy as np
from keras import ops

from flowkit.contract import Surjection
from flowkit.contract.arguments import shown
from flowkit.data.dequantize import Dequantize
from flowkit.engines import engine
from flowkit.flow.noise import counted


def check_dequantizer(dequantize: Any) -> None:
    """Raise TypeError if `Flow(dequantize=)` is neither None nor a surjection that reads stored values."""
    if dequantize is None:
        return
    fits = (
        isinstance(dequantize, Surjection)
        and dequantize.spec.draws(inverse=False)
        and dequantize.spec.context == "none"
        and all(callable(getattr(dequantize, name, None)) for name in ("validate", "as_stored"))
    )
    if not fits:
        raise TypeError(
            f"dequantize: got {shown(dequantize)}, expected a flowkit.data.Dequantize, or a Surjection with "
            'noise="forward" and no context that has validate(x) and as_stored(y).'
        )


def varies(dequantize: Any) -> bool:
    """Return True if the dequantizer's log-det differs from row to row, so that it must be computed."""
    constant = dequantize is None or (
        isinstance(dequantize, Dequantize) and dequantize.spec.log_det == "constant"
    )
    return not constant


def draws_elsewhere(dequantize: Any) -> bool:
    """Return True for a dequantizer without a seed generator of its own."""
    return dequantize is not None and not isinstance(dequantize, Dequantize)


def refuse_varying(dequantize: Any, what: str) -> None:
    """Raise ValueError if `what` would leave out the dequantizer's log-det."""
    if varies(dequantize):
        raise ValueError(
            f"{what}: got {shown(dequantize)}, whose log-det varies, expected Dequantize() or none: its log-det is a "
            "part of log_prob, from stored values on, alone."
        )


def dequantized(flow: Any, x: np.ndarray, start: int = 0, *, seed: int = 0, draw: int = 0) -> np.ndarray:
    """Return continuous values of samples `start` and following, each with the noise that its index gives."""
    return dequantized_with_volume(flow, x, start, seed=seed, draw=draw)[0]


def dequantized_with_volume(
    flow: Any, x: np.ndarray, start: int = 0, *, seed: int = 0, draw: int = 0
) -> tuple[np.ndarray, Any]:
    """Return (`dequantized`, the dequantizer's log-det (rows,), or None if it is constant)."""
    if flow.dequantize is None:
        return x, None
    needs = flow.dequantize.noise_needs(x.shape, inverse=False)
    y, log_det = _with_noise(flow.dequantize, x, counted(needs, start, start + len(x), seed=seed, draw=draw))
    return y, log_det if varies(flow.dequantize) else None


def undithered(flow: Any, x: np.ndarray) -> np.ndarray:
    """Return continuous values for noise in its middle: with `Dequantize` those in the middle of the bins of `x`."""
    if flow.dequantize is None:
        return x
    needs = flow.dequantize.noise_needs(x.shape, inverse=False)
    middles = [
        np.full((len(x), size), {"uniform": 0.5, "normal": 0.0}[kind], "float32") for kind, size in needs
    ]
    return _with_noise(flow.dequantize, x, np.concatenate(middles, axis=1))[0]


def _with_noise(dequantize, x, noise):
    with engine.no_grad():
        return tuple(ops.convert_to_numpy(part) for part in dequantize(x, noise=noise))
