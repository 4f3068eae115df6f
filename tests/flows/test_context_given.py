"""A context by every road that it may come, and one that nobody reads."""

import warnings

import keras
import numpy as np
import pytest
from arrays import f64
from keras import ops
from small_flows import Rows, one_line

from flowkit import Flow
from flowkit.bijectors import Coupling, Shift
from flowkit.conditioners import MLP
from flowkit.contract import ContractError
from flowkit.engines import engine
from flowkit.flow import rows as flow_rows
from flowkit.zoo import nsf

pytestmark = pytest.mark.one_engine

X = np.random.default_rng(0).normal(size=(8, 2)).astype("float32")
CONTEXT = np.random.default_rng(1).normal(size=(8, 3)).astype("float32")


def conditional(kind="required"):
    flow = Flow(Coupling(MLP([4], context=kind)))
    flow.compile(keras.optimizers.SGD(0.1))
    return flow


def of_ones(kind="required"):
    """So that the context counts."""
    flow = conditional(kind)
    flow.build({"x": (None, 2), "context": (None, 3)})
    for weight in flow.trainable_variables:
        weight.assign(ops.ones(weight.shape))
    return flow


@pytest.mark.two_engines
@pytest.mark.parametrize("kind", ["required", "optional"])
def test_one_batch_takes_the_context_in_the_forms_of_fit(kind):
    """And weighs rows: of what is trained, what is reported of it and what is tested nothing is left aside."""
    roads = [((X, CONTEXT), {}), ((X,), {"context": CONTEXT}), (({"x": X, "context": CONTEXT},), {})]
    weights, told = np.arange(8.0), []
    for data, given in roads:
        flow = of_ones(kind)
        before = flow.test_on_batch(*data, **given, return_dict=True)
        weighed = flow.train_on_batch(*data, **given, sample_weight=weights, return_dict=True)
        told.append([before["loss"], weighed["nll"], flow.test_on_batch(*data, **given)])
    own = of_ones(kind).log_prob(X, context=CONTEXT)
    np.testing.assert_allclose(told[0][:2], [-own.mean(), -np.average(own, weights=weights)], rtol=1e-5)
    assert told[0][2] < told[0][0]
    np.testing.assert_allclose(told[1:], told[:1] * 2, rtol=1e-6)


UNREAD = "expected none, since neither its bijector nor its base"


def unread():
    flow = Flow(Shift(0.0))
    flow.compile(keras.optimizers.SGD(0.1))
    return flow


@pytest.mark.parametrize("context", [CONTEXT, np.arange(8), {"a": CONTEXT, "b": CONTEXT}])
@pytest.mark.parametrize("call", ["fit", "train_on_batch"])
def test_training_with_a_context_that_nobody_reads_is_refused(call, context):
    together = {"x": X, "context": context}
    roads = [(X, {"context": context}), (together, {})]
    if call == "fit" and not isinstance(context, dict):
        roads.append((Rows(together), {}))
    for data, given in roads:
        with pytest.raises(ContractError, match=rf"{UNREAD}.*zoo\.nsf\(context=3\)") as caught:
            getattr(unread(), call)(data, **given)
        one_line(caught.value)
    with pytest.raises(ContractError, match=UNREAD):
        unread().log_prob(X, context=CONTEXT)


def test_labels_of_data_need_not_be_read_and_classes_are_not_weighed():
    flow = unread()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*reads one")
        flow.fit(X, np.arange(8), validation_data=(X, np.arange(8)), verbose=0)
        flow.evaluate(X, np.arange(8), verbose=0)
        flow.train_on_batch(X, np.arange(8))
    for call in (flow.fit, flow.train_on_batch):
        with pytest.raises(ValueError, match="got class_weight=, expected sample_weight="):
            call(X, np.arange(8), class_weight={0: 2.0})


def test_a_list_is_told_of_as_an_array():
    read = of_ones()
    with pytest.raises(ContractError, match=r"received list\. .*zoo\.nsf\(context=3\)"):
        unread().fit(X, context=CONTEXT.tolist())
    with pytest.raises(ValueError, match="expected context as an array of numbers"):
        read.log_prob(X, [*CONTEXT.tolist()[1:], [0.0]])
    np.testing.assert_array_equal(read.log_prob(X, CONTEXT.tolist()), read.log_prob(X, CONTEXT))


def test_a_call_takes_the_context_by_name():
    flow = of_ones()
    expected = f64(flow({"x": X, "context": CONTEXT}))
    np.testing.assert_array_equal(f64(flow(X, context=CONTEXT)), expected)
    assert np.abs(f64(flow(X, context=-CONTEXT)) - expected).max() > 0.1


def test_what_the_refusal_says_to_write_works():
    flow = nsf(context=3, layers=2, hidden=[4], bins=4)
    flow.compile(keras.optimizers.SGD(0.1))
    flow.fit(X, context=CONTEXT, verbose=0)
    labels = nsf(context=1, embedding=keras.layers.Embedding(8, 8), layers=2, hidden=[4], bins=4)
    labels.compile(keras.optimizers.SGD(0.1))
    labels.fit(X, context=np.arange(8), verbose=0)


@keras.saving.register_keras_serializable("flowkit-tests")
class Table(keras.layers.Layer):
    """Row `label` of a table: integers alone will do."""

    def build(self, shape):
        self.table = self.add_weight(shape=(5, 3), name="table")

    def call(self, labels):
        return ops.take(self.table, labels, axis=0)

    def compute_output_shape(self, shape):
        return (*shape, 3)


def test_an_embedding_that_takes_integers_alone_is_built_for_them():
    flow = Flow(Coupling(MLP([4], context="required")), embedding=Table())
    labels = np.arange(8, dtype="int32") % 5
    assert flow.adapt(X, labels).log_prob(X, labels).shape == (8,)


def test_an_engine_that_compiles_for_each_size_is_asked_with_few(monkeypatch):
    sizes = set()

    def double(start, stop, piece):
        assert stop - start == len(piece)
        sizes.add(len(piece))
        return 2 * piece

    monkeypatch.setattr(engine, "compiles_inference", True)
    for count in range(1, 200):
        rows = np.arange(count)
        np.testing.assert_array_equal(flow_rows.in_batches(None, double, rows, 1000), 2 * rows)
        assert max(sizes) <= max(count * 1.25, 2 ** np.ceil(np.log2(min(count, 16))))
    assert len(sizes) < 24
    sizes.clear()
    flow_rows.in_batches(None, double, np.arange(33), 33)
    assert sizes == {33}  # the caller's own limit
