"""Rows that are none, and weights of rows: what is learned from them is right, or it is said what was expected."""

import keras
import numpy as np
import pytest

from flowkit import Flow
from flowkit.bijectors import Shift
from flowkit.distributions import Uniform
from flowkit.training import GuardedOptimizer

X = np.random.default_rng(0).normal(size=(16, 2)).astype("float32")


def flow(**options):
    made = Flow(Shift(), **options)
    made.compile(keras.optimizers.SGD(0.1))
    return made


# Weights


@pytest.mark.parametrize("how", ["fit", "evaluate", "validation_data", "train_on_batch", "data set"])
def test_weights_that_are_a_column_are_refused(how):
    made, weights = flow().adapt(X), np.linspace(0, 1, 16).astype("float32")[:, None]
    rows = [(X, np.zeros(16, "float32"), weights)]
    ways = {
        "fit": lambda: made.fit(X, sample_weight=weights, batch_size=16, verbose=0),
        "evaluate": lambda: made.evaluate(X, sample_weight=weights, batch_size=16, verbose=0),
        "validation_data": lambda: made.fit(X, validation_data=(X, None, weights), batch_size=16, verbose=0),
        "train_on_batch": lambda: made.train_on_batch(X, sample_weight=weights),
        "data set": lambda: made.fit(iter(rows), verbose=0),
    }
    with pytest.raises(
        ValueError, match=r"sample_weight, one number for each row: got shape \((16|None), 1\)"
    ):
        ways[how]()


# Rows that are none


@pytest.mark.one_engine
@pytest.mark.parametrize(("rows", "shape"), [(X[:0], r"\(0, 2\)"), (np.array(1.0), r"\(\)")])
def test_an_array_without_rows_is_refused(rows, shape):
    made = flow().adapt(X)
    on_batch = (made.train_on_batch, made.test_on_batch, made.predict_on_batch)
    for method in (made.fit, made.evaluate, made.predict, *on_batch):
        with pytest.raises(ValueError, match=f"got an array of shape {shape}, expected at least one row"):
            method(rows)
    for given in (rows, (rows, None)):
        with pytest.raises(ValueError, match="at least one row"):
            made.fit(X, validation_data=given, verbose=0)
    for method in (made.fit, made.evaluate):
        with pytest.raises(ValueError, match="got a data set that has no batch left"):
            method(iter(()), verbose=0)


class Batches(keras.utils.PyDataset):
    """Batches of other sizes."""

    def __init__(self, *sizes):
        super().__init__()
        self.sizes = sizes

    def __len__(self):
        return len(self.sizes)

    def __getitem__(self, index):
        return (X[: self.sizes[index]],)


def test_nothing_is_learned_from_an_empty_batch():
    made, other = flow().adapt(X), flow().adapt(X)
    made.fit(Batches(8, 0, 3), shuffle=False, verbose=0)
    other.fit(Batches(8, 3), shuffle=False, verbose=0)
    for one, same in zip(made.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, same)


# What counts


@pytest.mark.parametrize("before", ["evaluate", "test_on_batch"])
def test_an_evaluation_counts_rows_that_are_impossible(before):
    made = Flow(Shift(), Uniform(-1.0, 1.0)).adapt(X)
    made.compile(GuardedOptimizer(keras.optimizers.SGD(0.1)))  # in whose steps they do not count
    rows = np.array([[0.1, 0.2], [5.0, 0.0]], "float32")
    for method in (before, "evaluate", "test_on_batch"):
        told = getattr(made, method)(
            rows, return_dict=True, **({"verbose": 0} if method == "evaluate" else {})
        )
        assert told["loss"] == np.inf
