"""The 8x8 digits that come with scikit-learn: small enough for a test, with 17 levels."""

import numpy as np

LEVELS = 17  # values 0..16: each is a count of set pixels in a 4x4 cell
TRAIN = 1437


def load_digits(split):
    """1,437 train or 360 test images, `(n, 8, 8, 1)` uint8 in 0..16, and their labels."""
    try:
        from sklearn import datasets
    except ImportError:
        raise ImportError(
            "digits: expected scikit-learn, which carries these images, but it is not installed. "
            "Run `pip install scikit-learn`, or use `fashion-mnist`, which flowkit carries."
        ) from None
    digits = datasets.load_digits()
    rows = slice(TRAIN) if split == "train" else slice(TRAIN, None)
    images = digits.images[rows].astype(np.uint8)[..., None]
    return images, digits.target[rows].astype(np.int64)
