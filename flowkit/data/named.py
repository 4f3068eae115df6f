"""Data sets by name: Fashion-MNIST (Xiao, Rasul & Vollgraf, 2017), partly carried by flowkit, and digits."""

from pathlib import Path

import numpy as np

from flowkit.data.idx import read_idx_folder

EMBEDDED = Path(__file__).with_name("fashion_mnist.npz")
# Of the bytes of train_images, train_labels, test_images and test_labels, in this order.
EMBEDDED_SHA256 = "120fae59a8d18f52d5c9c49a8fd8c4a3af2a16152bb32634941898b1b78e2ca7"

FULL = Path("/usr/share/datasets/fashion-mnist")  # where Debian's package puts it

CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
_DIGITS = {"train": slice(1437), "test": slice(1437, None)}  # of 1,797


def load_embedded(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return 5,000 train or 1,000 test images of Fashion-MNIST, `(n, 28, 28, 1)` uint8, and their labels.

    Every ten images in a row hold one of each class. They are cut from the full set, train from train and test from
    test.
    """
    with np.load(EMBEDDED, allow_pickle=False) as arrays:
        return arrays[f"{split}_images"], arrays[f"{split}_labels"].astype(np.int64)


def load_full(split: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Return 60,000 train or 10,000 test images of Fashion-MNIST, `(n, 28, 28, 1)` uint8, and their labels."""
    if not FULL.is_dir():
        raise FileNotFoundError(
            f"{FULL}: expected the four files of Fashion-MNIST, found no such folder. On Debian "
            "or Ubuntu run `apt-get install dataset-fashion-mnist`; elsewhere put "
            "train-images-idx3-ubyte.gz and the other three there, or load their folder by its "
            "path. The embedded part is `fashion-mnist`."
        )
    return read_idx_folder(FULL, split)[:2]


def load_digits(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return scikit-learn's 1,437 train or 360 test images, `(n, 8, 8, 1)` uint8 in 0..16, and their labels."""
    try:
        from sklearn import datasets
    except ImportError:
        raise ImportError(
            "digits: expected scikit-learn, which carries these images, but it is not installed. "
            "Run `pip install scikit-learn`, or use `fashion-mnist`, which flowkit carries."
        ) from None
    digits = datasets.load_digits()
    rows = _DIGITS[split]
    return digits.images[rows].astype(np.uint8)[..., None], digits.target[rows].astype(np.int64)


# Name -> a function that loads a split, the number of values of a pixel, the names of the labels.
NAMES = {
    "fashion-mnist": (load_embedded, 256, CLASSES),
    "fashion-mnist-full": (load_full, 256, CLASSES),
    # Each pixel of a digit is a count of set pixels in a 4x4 cell.
    "digits": (load_digits, 17, tuple("0123456789")),
}
