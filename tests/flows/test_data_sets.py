"""Data sets of every kind that Keras takes: nothing is lost on the way, and nothing goes unchecked."""

import keras
import numpy as np
import pytest
from small_flows import Rows, glow, vectors, weights

from flowkit import engines
from flowkit.contract import ContractError

pytestmark = pytest.mark.one_engine


def as_dataset(kind, x, context):
    """`({"x": ..., "context": ...},)` in batches of 8, as one of the kinds of data set that Keras takes."""
    parts = {"x": x[:16], "context": context[:16]}
    if kind == "PyDataset":
        return Rows(parts)
    if kind == "generator":
        return (Rows(parts)[i] for i in range(2))
    if kind == "torch":
        import torch
        from torch.utils.data import DataLoader

        items = [{"x": a, "context": b} for a, b in zip(parts["x"], parts["context"], strict=True)]

        def collate(rows):
            stack = {key: np.stack([row[key] for row in rows]) for key in ("x", "context")}
            return ({key: torch.from_numpy(value) for key, value in stack.items()},)

        return DataLoader(items, batch_size=8, collate_fn=collate)
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices((parts,)).batch(8)


KINDS = ["PyDataset", "generator", *(["torch"] if engines.installed("torch") else [])]
KINDS += ["tf.data"] if engines.installed("tensorflow") else []


@pytest.mark.every_engine
@pytest.mark.parametrize("kind", KINDS)
def test_fit_takes_what_keras_takes(kind, x, context):
    def trained(data, **options):
        keras.utils.set_random_seed(0)
        flow = vectors("required")
        flow.compile(optimizer=keras.optimizers.SGD(0.01))
        flow.fit(data, verbose=0, **options)
        return flow

    flow = trained(as_dataset(kind, x, context), shuffle=False)
    assert flow.bijector.adapted
    # Nothing is lost on the way, the first batch that was looked at included.
    reference = trained(x[:16], context=context[:16], batch_size=8, shuffle=False)
    for one, other in zip(weights(flow), weights(reference), strict=True):
        np.testing.assert_allclose(one, other, atol=64 * np.finfo("float32").eps)


@pytest.mark.two_engines
@pytest.mark.parametrize("kind", ["array", "data set"])
def test_data_are_checked_whatever_brings_them_in(kind, images):
    """A traced step cannot ask whether the flow is adapted."""
    scaled = (images / 255).astype("float32")
    held, wrong = (Rows({"x": x}) if kind == "data set" else x for x in (images, scaled))
    for shape in ((8, 8, 1), None):
        flow = glow(input_shape=shape)
        flow.compile()
        for call in (flow.evaluate, flow.predict):
            with pytest.raises(ContractError, match="set by adapt"):
                call(held, verbose=0)
    flow.adapt(images)
    for call in (flow.fit, flow.evaluate, flow.predict, lambda x, **how: flow.fit(images, validation_data=x)):
        with pytest.raises(ValueError, match=r"0\.\.255"):
            call(wrong, verbose=0)


@pytest.mark.parametrize("call", ["train_on_batch", "test_on_batch", "predict_on_batch"])
def test_single_batches_are_held_to_the_same(call, images):
    flow = glow(input_shape=(8, 8, 1))
    flow.compile()
    with pytest.raises(ContractError, match="set by adapt"):
        getattr(flow, call)(images)
    flow.adapt(images)
    with pytest.raises(ValueError, match=r"0\.\.255"):
        getattr(flow, call)(images / 255)
    assert np.isfinite(getattr(flow, call)(images)).all()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "got no data, expected an array"),
        ([[1.0, 2.0]], "got list"),
        ({"images": np.zeros((2, 2))}, "got a dict with the keys .'images'., expected 'x' and 'context'"),
    ],
)
def test_what_is_no_data_is_refused(data, message):
    flow = vectors()
    flow.compile("adam")
    with pytest.raises(ValueError, match=message):
        flow.fit(data)


def test_batches_without_the_context_say_how_it_is_given():
    flow = vectors(context="required")
    flow.compile("adam")
    with pytest.raises(ContractError, match=r"yields it as \(\{'x': ..., 'context': ...\},\)"):
        flow.fit([(np.zeros((2, 4), "float32"), np.zeros((2, 2), "float32"))].__iter__())
