"""Types of signatures that have no class of their own: each backend has another class of tensors."""

from typing import TYPE_CHECKING, Any, TypeAlias

import keras

AnySeed: TypeAlias = int | keras.random.SeedGenerator | None

if TYPE_CHECKING:
    Tensor: TypeAlias = Any
    Shape: TypeAlias = Any
    Context: TypeAlias = Any
else:

    class Tensor:
        """A tensor of the backend, or a value that becomes one: a numpy array, a list of numbers, a data frame."""

    class Context:
        """A tensor that a density is conditional on, a dict of tensors, or None."""

    class Shape:
        """A tuple of ints, (batch, *event), with None for sizes that are not known; a dict of tuples for a dict."""
