"""What a file holds against what it should hold."""

from collections import Counter

import numpy as np

from flowkit.backends import plain_array

_SHOWN = 4  # of a long list of faults; the first ones tell what is wrong


def as_arrays(variables):
    """A mapping of names to arrays or tensors, those of torch included, as numpy arrays."""
    return {str(name): plain_array(value, str(name)) for name, value in variables.items()}


def as_array(value):
    """An array, or a tensor of torch or of another engine, as a numpy array."""
    return plain_array(value, "a weight")


def most_common(sizes, what):
    """The size that most variables agree on, so that a single wrong one can be named. ValueError for none."""
    counts = Counter(sizes).most_common(1)
    if not counts:
        raise ValueError(f"expected {what}, received no variable that tells it")
    return counts[0][0]


def check_inventory(arrays, expected):
    """Raise ValueError that names what is missing, mis-shaped, too much or not finite.

    `expected` maps each name to its shape.
    """
    faults = [
        f"{name} is missing, expected shape {shape}" for name, shape in expected.items() if name not in arrays
    ]
    for name, array in arrays.items():
        if name not in expected:
            faults.append(f"{name} of shape {array.shape} is not part of this model")
        elif array.shape != expected[name]:
            faults.append(f"{name} has shape {array.shape}, expected {expected[name]}")
        elif array.dtype.kind not in "fiub":
            faults.append(f"{name} holds {array.dtype}, expected numbers")
        elif not np.isfinite(array).all():
            faults.append(f"{name} holds NaN or infinity")
    if faults:
        more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise ValueError("; ".join(faults[:_SHOWN]) + more)
