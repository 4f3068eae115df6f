"""Fashion-MNIST (Xiao, Rasul & Vollgraf, 2017): a part that flowkit carries, and the full set."""

from pathlib import Path

import numpy as np

from flowkit.data.idx import load_idx_folder

EMBEDDED = Path(__file__).with_name("fashion_mnist.npz")
# Of the bytes of train_images, train_labels, test_images and test_labels, in this order.
EMBEDDED_SHA256 = "120fae59a8d18f52d5c9c49a8fd8c4a3af2a16152bb32634941898b1b78e2ca7"

FULL = Path("/usr/share/datasets/fashion-mnist")  # where Debian's package puts it

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def load_embedded(split):
    """5,000 train or 1,000 test images, `(n, 28, 28, 1)` uint8, and their labels.

    Every ten images in a row hold one of each class. Cut by `cut_fashion_mnist` from the full set,
    train from train and test from test.
    """
    with np.load(EMBEDDED, allow_pickle=False) as arrays:
        return arrays[f"{split}_images"], arrays[f"{split}_labels"].astype(np.int64)


def load_full(split, folder=None):
    """60,000 train or 10,000 test images, `(n, 28, 28, 1)` uint8, and their labels."""
    folder = FULL if folder is None else Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder}: expected the four files of Fashion-MNIST, found no such folder. On Debian "
            "or Ubuntu run `apt-get install dataset-fashion-mnist`; elsewhere put "
            "train-images-idx3-ubyte.gz and the other three there, or load their folder by its "
            "path. The embedded part is `fashion-mnist`."
        )
    return load_idx_folder(folder, split)
