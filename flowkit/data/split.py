"""Train and test parts of data that come without them: 90/10, the same on every machine."""

import hashlib

import numpy as np

SPLITS = ("train", "test")
TEST_FRACTION = 0.1


def check_split(split):
    """Raise a ValueError unless `split` is "train" or "test"."""
    if split not in SPLITS:
        raise ValueError(f'split: expected "train" or "test", received {split!r}.')


def name_fraction(name):
    """A number in [0, 1) that depends on nothing but `name`, uniform over names."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64


def split_names(names, split, source):
    """The names of one split, in an order in which any prefix is a fair sample.

    Each name is placed by its own hash, so that adding files later moves none of the old ones
    between the splits.
    """
    placed = sorted((name_fraction(name), name) for name in names)
    test = split == "test"
    chosen = [name for fraction, name in placed if (fraction < TEST_FRACTION) == test]
    if not chosen:
        raise ValueError(
            f"{source}: expected enough images for a 90/10 split by file name, received "
            f"{len(placed)}, none of which falls into {split!r}. Add images, or make `train` and "
            "`test` sub-folders yourself."
        )
    return chosen


def split_rows(count, split, source):
    """The row numbers of one split of `count` rows, ascending."""
    if count < 2:
        raise ValueError(
            f"{source}: expected at least 2 rows or images for a 90/10 split, received {count}. Add some, or store "
            "both splits in one .npz file."
        )
    order = np.random.default_rng(0).permutation(count)
    test = max(1, round(count * TEST_FRACTION))
    return np.sort(order[:test] if split == "test" else order[test:])
