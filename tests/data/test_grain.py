"""Grain's data sets, of all kinds, go straight through `fit`, `evaluate` and `validation_data`."""

import keras
import numpy as np
import pytest

import flowkit
from flowkit.bijectors import ActNorm, Coupling
from flowkit.conditioners import MLP

grain = pytest.importorskip("grain")

ROWS = np.random.default_rng(0).normal(size=(48, 4)).astype("float32")


class Rows(grain.sources.RandomAccessDataSource):
    """What grain reads from: a length and items."""

    def __len__(self):
        return len(ROWS)

    def __getitem__(self, index):
        return ROWS[index]


def loader():
    sampler = grain.samplers.SequentialSampler(len(ROWS), grain.sharding.NoSharding())
    return grain.DataLoader(data_source=Rows(), sampler=sampler, operations=[grain.transforms.Batch(16)])


KINDS = {
    "MapDataset": lambda: grain.MapDataset.source(Rows()).batch(16),
    "IterDataset": lambda: grain.MapDataset.source(Rows()).to_iter_dataset().batch(16),
    "DataLoader": loader,
    "tuples": lambda: grain.MapDataset.source(Rows()).map(lambda row: (row,)).batch(16),
}


def trained(data, **kwargs):
    """The losses of two epochs, also of validation, and the score of what came out."""
    keras.utils.set_random_seed(0)
    flow = flowkit.Flow(ActNorm())
    # On the batch that it adapted to, an ActNorm's gradients are zero but for rounding, which Adam would blow up.
    flow.compile(keras.optimizers.SGD(0.1))
    history = flow.fit(data, epochs=2, shuffle=False, verbose=0, **kwargs).history
    score = flow.evaluate(data, verbose=0, batch_size=kwargs.get("batch_size"))
    return history["loss"], history["val_loss"], score


@pytest.mark.parametrize("kind", KINDS)
def test_it_trains_and_validates_as_the_same_arrays_do(kind):
    expected = trained(ROWS, batch_size=16, validation_data=ROWS)
    received = trained(KINDS[kind](), validation_data=KINDS[kind]())
    for a, b in zip(expected, received, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_context_travels_along():
    """(x, context) of a grain source, as the dict that Flow takes."""
    seen = []

    class Looked(flowkit.Flow):
        def call(self, inputs, training=None):
            seen.append(sorted(inputs))
            return super().call(inputs, training)

    pairs = grain.MapDataset.source(Rows()).map(lambda row: ({"x": row, "context": row[:1]},)).batch(16)
    flow = Looked(Coupling(MLP([4], context="required")))
    flow.compile("adam")
    flow.fit(pairs, epochs=1, verbose=0)
    assert ["context", "x"] in seen
