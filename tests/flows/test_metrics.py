"""What `fit` and `evaluate` report: means of `log_prob`, weighted as the rows are."""

import keras
import numpy as np
import pytest
from small_flows import Cube, Rows, vectors
from tolerance import PARITY

from flowkit import Flow
from flowkit.bijectors import Scale
from flowkit.training import GuardedOptimizer


@pytest.mark.one_engine
def test_validation_data_are_scored(x, context):
    flow = vectors("required")
    flow.compile(optimizer="adam")
    for validation in ((x[16:], context[16:]), Rows({"x": x[16:], "context": context[16:]}, size=4)):
        history = flow.fit(x, context=context, validation_data=validation, verbose=0, batch_size=10).history
        expected = -flow.log_prob(x[16:], context[16:]).mean()
        np.testing.assert_allclose(history["val_loss"][-1], expected, rtol=PARITY)
        assert history.keys() == {"loss", "val_loss"}


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


def test_weights_are_not_taken_by_place(x):
    with pytest.raises(TypeError, match="positional"):
        vectors().evaluate(x, None, 10, 0, np.ones(20))


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
