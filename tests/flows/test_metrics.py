"""What `fit` and `evaluate` report: means of `log_prob`, weighted as the rows are."""

import keras
import numpy as np
import pytest
from small_flows import Cube, Rows, vectors
from tolerance import PARITY

from flowkit import Flow
from flowkit.bijectors import Scale, Shift
from flowkit.contract import ContractError
from flowkit.training import GuardedOptimizer


def test_evaluate_takes_a_context_as_fit_does(context_flow, x, context):
    context_flow.compile()
    expected = -context_flow.log_prob(x, context).mean()
    for given in ({"context": context}, {"y": context}):
        result = context_flow.evaluate(x, **given, batch_size=5, verbose=0, return_dict=True)
        np.testing.assert_allclose(result["loss"], expected, rtol=PARITY)
    with pytest.raises(ContractError, match="received none"):
        context_flow.evaluate(x, verbose=0)


@pytest.mark.one_engine
def test_validation_data_are_scored(x, context):
    flow = vectors("required")
    flow.compile(optimizer="adam")
    for validation in ((x[16:], context[16:]), Rows({"x": x[16:], "context": context[16:]}, size=4)):
        history = flow.fit(x, context=context, validation_data=validation, verbose=0, batch_size=10).history
        expected = -flow.log_prob(x[16:], context[16:]).mean()
        np.testing.assert_allclose(history["val_loss"][-1], expected, rtol=PARITY)
        assert history.keys() == {"loss", "val_loss"}


def test_metrics_count_weights():
    x = np.random.default_rng(0).normal(size=(4, 2)).astype("float32")
    flow = Flow(Shift())
    flow.build((None, 2))
    flow.compile("adam")
    weights = np.array([1.0, 0.0, 3.0, 0.0], "float32")
    nll = flow.evaluate(x, sample_weight=weights, batch_size=4, verbose=0, return_dict=True)["nll"]
    np.testing.assert_allclose(nll, np.average(-flow.log_prob(x), weights=weights), rtol=1e-5)


def test_weights_weigh_in_evaluate_and_validation(x):
    flow = vectors().adapt(x)
    flow.compile(optimizer=keras.optimizers.SGD(0.0))
    weights = np.array([2.0] * 10 + [0.0] * 10, "float32")
    expected = -flow.log_prob(x[:10]).mean()
    result = flow.evaluate(x, sample_weight=weights, batch_size=20, verbose=0, return_dict=True)
    np.testing.assert_allclose(result["loss"], expected, rtol=PARITY)
    for validation in ((x, None, weights), (x, np.zeros(20), weights)):
        history = flow.fit(x, validation_data=validation, batch_size=20, verbose=0).history
        np.testing.assert_allclose(history["val_loss"][-1], expected, rtol=PARITY)


def test_weights_are_not_taken_by_place_and_classes_are_not_weighed(x):
    flow = vectors().adapt(x)
    flow.compile()
    with pytest.raises(TypeError, match="positional"):
        flow.evaluate(x, None, 10, 0, np.ones(20))
    with pytest.raises(ValueError, match="sample_weight="):
        flow.fit(x, class_weight={0: 1.0})


def test_what_is_not_finite_counts_unless_its_step_is_skipped():
    """A mean without it would be that of other data; one of nothing is not 0, the best of all."""
    rows = np.array([[0.0, 0.0], [9.0, 9.0]], "float32")  # the second has density 0

    def scores(optimizer):
        flow = Flow(Scale(), Cube())
        flow.compile(optimizer=optimizer)
        history = flow.fit(rows, validation_data=rows, batch_size=1, shuffle=False, verbose=0).history
        assert history["val_loss"] == [np.inf]
        assert flow.evaluate(rows, verbose=0, return_dict=True)["loss"] == np.inf
        return history["loss"], flow.fit(rows[1:], verbose=0).history["loss"]

    assert scores(keras.optimizers.SGD(0.0)) == ([np.inf], [np.inf])
    assert scores(GuardedOptimizer(keras.optimizers.SGD(0.0))) == (
        [0.0],
        [pytest.approx(np.nan, nan_ok=True)],
    )
