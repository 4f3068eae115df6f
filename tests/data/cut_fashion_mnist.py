"""Cut the part of Fashion-MNIST that flowkit carries: `python tests/data/cut_fashion_mnist.py`.

Reads the full set as Debian's package dataset-fashion-mnist installs it and writes
`flowkit/data/fashion_mnist.npz`. Running it again gives the same arrays; the last line that it
prints is the SHA-256 that `flowkit/data/source.py` states.
"""

import hashlib

import numpy as np

from flowkit.data.source import CLASSES, EMBEDDED, load_full

# Of the bytes of train_images, train_labels, test_images and test_labels, in this order.
EMBEDDED_SHA256 = "120fae59a8d18f52d5c9c49a8fd8c4a3af2a16152bb32634941898b1b78e2ca7"

PER_CLASS = {"train": 500, "test": 100}
SEED = 0


def balanced_rows(labels, per_class, seed):
    """Return row numbers of `per_class` images of each class, one of each class in every ten.

    Any prefix of them is balanced, which a plain shuffle is only on average.
    """
    rng = np.random.default_rng(seed)
    by_class = [
        rng.choice(np.flatnonzero(labels == label), per_class, replace=False) for label in range(len(CLASSES))
    ]
    return rng.permuted(np.stack(by_class, axis=1), axis=1).reshape(-1)


def full_set(split):
    """Return the images and labels of a split of the full set."""
    found = load_full(split)
    return found.images, found.labels


def cut(load_split=full_set):
    """Return the four arrays of the embedded file, by name; `load_split(split)` returns the full set."""
    arrays = {}
    for split, per_class in PER_CLASS.items():
        images, labels = load_split(split)
        rows = balanced_rows(labels, per_class, SEED)
        arrays[f"{split}_images"] = np.ascontiguousarray(images[rows])
        arrays[f"{split}_labels"] = labels[rows].astype(np.uint8)
    return arrays


def arrays_sha256(arrays):
    """Return the SHA-256 of the arrays' bytes. The .npz file's own bytes depend on the zlib that wrote it."""
    digest = hashlib.sha256()
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()


def main():
    arrays = cut()
    np.savez_compressed(EMBEDDED, **arrays)
    sha256 = arrays_sha256(arrays)
    size = EMBEDDED.stat().st_size / 1e6
    print(f"{EMBEDDED.name}: {size:.2f} MB, as stated: {sha256 == EMBEDDED_SHA256}")
    print(sha256)


if __name__ == "__main__":
    main()
