"""One split of a data set of images, and the 90/10 split of data that come without one."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np

from flowkit.contract.arguments import whole, words
from flowkit.data.bounded import FileError
from flowkit.data.lazy_images import LazyImages

Split = Annotated[str, words("train", "test")]
Limit = Annotated[int, whole(1, None)]
_TEST_FRACTION = 0.1


@dataclass(frozen=True, eq=False)
class Dataset:
    """One split of a data set of images, as plain numpy.

    Attributes:
        images: uint8, shape `(n, height, width, channels)`, values `0..levels-1`;
            `LazyImages` of that shape if they are not held in memory.
        labels: int64, shape `(n,)`, or None if the source has none.
        levels: the number of values that a pixel can take: 256, or 17 for `digits`. Dequantisation divides by it,
            and bits per dimension are counted with it.
        name: the name or path that was loaded.
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

    def take(self, rows: np.ndarray) -> "Dataset":
        """Return the images at some places."""
        images = self.images.taken(rows) if isinstance(self.images, LazyImages) else self.images[rows]
        return replace(self, images=images, labels=None if self.labels is None else self.labels[rows])

    def __repr__(self):
        # The generated repr would print the pixels.
        labels = None if self.labels is None else self.labels.shape
        return (
            f"Dataset(name={self.name!r}, images={self.images.shape}, labels={labels}, levels={self.levels})"
        )


def split_rows(count: int, split: str, source: str | Path, of: str = "rows") -> np.ndarray:
    """Return the numbers of one split of `count` rows, or of what `of` says, ascending, the same on every machine."""
    if count < 2:
        raise FileError(f"{source}: expected at least 2 {of} for a 90/10 split, received {count}. Add some.")
    order = np.random.default_rng(0).permutation(count)
    test = max(1, round(count * _TEST_FRACTION))
    return np.sort(order[:test] if split == "test" else order[test:])


def split_names(names: Sequence[str], split: str, source: str | Path) -> list[str]:
    """Return the names of one split, in an order in which any prefix is a fair sample.

    The hash of a name places it, so that adding files later moves none of the old ones between the splits.
    """
    test = split == "test"
    chosen = [name for name in by_hash(names) if (_fraction(name) < _TEST_FRACTION) == test]
    if not chosen:
        raise FileError(
            f"{source}: expected enough images for a 90/10 split by file name, received {len(names)}, none of which "
            f"falls into {split!r}. Add images, or make `train` and `test` sub-folders yourself."
        )
    return chosen


def by_hash(names: Sequence[str]) -> list[str]:
    """Return `names` in the order of their hashes."""
    return sorted(names, key=lambda name: (_fraction(name), name))


def _fraction(name):
    """Return a number in [0, 1) that depends on nothing but `name`, uniform over names."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64
