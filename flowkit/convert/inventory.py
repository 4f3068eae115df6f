"""What a file holds against what it should hold."""

from collections import Counter
from collections.abc import Mapping

import numpy as np

from flowkit.engines import plain_array

_SHOWN = 4  # of a long list of faults; the first ones tell what is wrong
_AXES = {"weight": 2, "mask": 2, "bias": 1, "degrees": 1}  # of a linear layer


def as_arrays(variables):
    """Return a mapping of names to arrays or tensors as numpy arrays; raise TypeError for anything else."""
    if not isinstance(variables, Mapping):
        raise TypeError(
            f"expected names and their arrays, such as model.state_dict(), received a {type(variables).__name__}"
        )
    return {str(name): plain_array(value, str(name)) for name, value in variables.items()}


def as_array(value):
    """Return an array, or a tensor of any engine, as a numpy array."""
    return plain_array(value, "a weight")


def most_common(sizes, what):
    """Return the size that most variables agree on, so that a single wrong one can be named; ValueError for none."""
    counts = Counter(sizes).most_common(1)
    if not counts:
        raise ValueError(f"expected {what}, received no variable that tells it")
    return counts[0][0]


def check_none_is_left_out(numbers, name):
    """Raise ValueError unless the layers that have weights are numbered from 0 on, without a gap.

    `name` is that of a layer but for its number. What has no weights is in no state dict: it could be any map.
    """
    missing = sorted(set(range(max(numbers) + 1)) - set(numbers))
    if missing:
        raise ValueError(
            f"{name}{missing[0]}: expected its weights, received none. A layer without weights does not convert: "
            "what it computes is not told"
        )


def linear_shapes(arrays, layers, kinds=("weight", "bias"), *, inputs=None, outputs_of=1):
    """Return name -> shape of the weights of linear layers that follow each other.

    Sizes are those that most weights agree on. `inputs` overrules them; the last size is a multiple of `outputs_of`.
    """
    votes = [[] for _ in range(len(layers) + 1)]
    for place, layer in enumerate(layers):
        for kind in kinds:
            shape = arrays[f"{layer}.{kind}"].shape if f"{layer}.{kind}" in arrays else None
            if shape is not None and len(shape) == _AXES[kind]:
                votes[place + 1].append(shape[0])
                votes[place] += shape[1:]
    sizes = [
        most_common(some, f"{layers[max(0, place - 1)]}.weight, a matrix")
        for place, some in enumerate(votes)
        if place or inputs is None
    ]
    sizes = sizes if inputs is None else [inputs, *sizes]
    sizes[-1] = max(1, round(sizes[-1] / outputs_of)) * outputs_of
    return {
        f"{layer}.{kind}": (after, before)[: _AXES[kind]]
        for layer, before, after in zip(layers, sizes, sizes[1:], strict=False)
        for kind in kinds
    }


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
            faults.append(f"{name} holds NaN or infinity, expected finite numbers")
    if faults:
        more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise ValueError("; ".join(faults[:_SHOWN]) + more)
