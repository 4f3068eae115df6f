"""The classifier two-sample test: can a network tell two sets of draws apart?"""

import keras
import numpy as np

from flowkit.contract import Tensor
from flowkit.contract.arguments import whole_number


def c2st(x: Tensor, y: Tensor, *, folds: int = 5, epochs: int = 100, seed: int = 0) -> float:
    """Return the share of rows that a classifier assigns to the right one of two samples: 0.5 if they are alike.

    1 says that the samples have nothing in common. The classifier is a network of two hidden layers, 10 units for each
    column, trained on all but one of `folds` parts and tested on that part, each in turn. Columns are standardised by
    `x`. Random rows of the longer sample are left out, so that both have equally many.

    A number of tests, not a p-value: equal samples of n rows each give 0.5 with a standard error of 0.5 / sqrt(2 n).
    Raises ValueError for samples that are not rows of as many columns, or of fewer than `folds` rows, and for NaN.
    Lopez-Paz & Oquab, Revisiting Classifier Two-Sample Tests (2017); Lueckmann et al., Benchmarking Simulation-Based
    Inference (2021).

    >>> x, y = np.random.default_rng(0).normal(size=(2, 200, 1))
    >>> 0.3 < c2st(x, y, folds=2, epochs=5) < 0.7, c2st(x, y + 9.0, folds=2, epochs=20) > 0.95
    (True, True)
    """
    x, y = np.asarray(x, "float32"), np.asarray(y, "float32")
    folds = whole_number(folds, "c2st's folds", least=2)
    n = min(len(x), len(y))
    if x.ndim != 2 or y.shape[1:] != x.shape[1:] or n < folds:
        raise ValueError(
            f"c2st: got samples of shapes {x.shape} and {y.shape}, expected rows of the same columns, at least {folds}."
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("c2st: got NaN or infinity, expected finite numbers.")
    rng = np.random.default_rng(seed)
    scale = x.std(axis=0)
    rows = np.concatenate([rng.permutation(x)[:n], rng.permutation(y)[:n]])
    rows = (rows - x.mean(axis=0)) / np.where(scale > 0, scale, 1.0)
    labels = np.repeat([0.0, 1.0], n).astype("float32")
    parts = np.array_split(rng.permutation(2 * n), folds)
    right = 0
    for number, part in enumerate(parts):
        others = rng.permutation(np.setdiff1d(np.arange(2 * n), part))
        batch_size = min(256, -(-len(others) // 10))  # at least ten steps in an epoch
        # Without Keras's seed, which is that of numpy and the backend, and so of the caller's own draws.
        starts = [keras.initializers.GlorotUniform(3 * (folds * seed + number) + layer) for layer in range(3)]
        hidden = [
            keras.layers.Dense(10 * x.shape[1], "relu", kernel_initializer=start) for start in starts[:2]
        ]
        network = keras.Sequential([*hidden, keras.layers.Dense(1, kernel_initializer=starts[2])])
        network.compile(keras.optimizers.Adam(5e-3), keras.losses.BinaryCrossentropy(from_logits=True))
        data = rows[others], labels[others, None]
        network.fit(*data, batch_size=batch_size, epochs=epochs, shuffle=False, verbose=0)
        logits = network.predict(rows[part], batch_size=4096, verbose=0)[:, 0]
        right += int(((logits > 0) == (labels[part] > 0)).sum())
    return right / (2 * n)
