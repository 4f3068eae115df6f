"""What every loader returns: images, and what is known about them."""

from dataclasses import dataclass

import numpy as np

from flowkit.data.lazy_images import LazyImages


@dataclass(frozen=True, eq=False)
class Dataset:
    """One split of a data set of images, as plain numpy.

    Attributes:
        images: uint8, shape `(n, height, width, channels)`, values `0..levels-1`;
            `LazyImages` of that shape if they are not held in memory.
        labels: int64, shape `(n,)`, or None if the source has none.
        levels: how many values a pixel can take: 256, or 17 for `digits`. It is the number that
            dequantisation divides by and bits per dimension are counted with.
        name: where the images came from.
        classes: the names of the labels, `classes[label]`, if the source has names.

    Example:
        >>> data = Dataset(np.zeros((2, 4, 4, 1), "uint8"), None, levels=256, name="zeros")
        >>> data
        Dataset(name='zeros', images=(2, 4, 4, 1), labels=None, levels=256)
        >>> len(data)
        2
    """

    images: np.ndarray | LazyImages
    labels: np.ndarray | None
    levels: int
    name: str
    classes: tuple[str, ...] | None = None

    def __len__(self):
        return len(self.images)

    def __repr__(self):
        # The generated repr would print the pixels.
        labels = None if self.labels is None else self.labels.shape
        return (
            f"Dataset(name={self.name!r}, images={self.images.shape}, labels={labels}, levels={self.levels})"
        )
