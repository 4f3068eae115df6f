"""A flow that waits for `adapt` is refused while an engine traces, too."""

import keras
import numpy as np
import pytest

from flowkit import Flow
from flowkit.bijectors import ActNorm, Chain
from flowkit.contract import ContractError

WAITS = "adapted.*has seen no data"


def fresh():
    flow = Flow(Chain([ActNorm()]))
    flow.build((None, 4))
    return flow


def other_model(flow):
    """Another model around a flow."""
    x = keras.Input((4,))
    return keras.Model(x, -flow(keras.layers.Dense(4)(x)))


def fit(model, x):
    model.compile("sgd", loss=lambda target, loss: loss)
    return model.fit(x, np.zeros(len(x)), epochs=2, verbose=0).history["loss"]


def test_jit_of_a_flow_that_waits_is_refused(x):
    jax = pytest.importorskip("jax")
    if keras.backend.backend() != "jax":
        pytest.skip("jax.jit traces on JAX")
    flow = fresh()
    with pytest.raises(ContractError, match=WAITS):
        jax.jit(flow)(x)
    with pytest.raises(ContractError, match=WAITS):
        jax.jit(flow.bijector.inverse)(x)
    flow.adapt(x)
    np.testing.assert_allclose(jax.jit(flow)(x), flow.log_prob(x), rtol=1e-5)


def test_another_model_does_not_train_a_flow_that_waits(x):
    model = other_model(fresh())
    with pytest.raises(ContractError, match=WAITS):
        fit(model, x)
    with pytest.raises(ContractError, match=WAITS):
        model.predict(x, verbose=0)


def test_another_model_trains_a_flow_that_was_adapted_after_it_was_made(x):
    flow = fresh()
    model = other_model(flow)
    flow.adapt(x)
    assert np.isfinite(fit(model, x)).all()


def test_weights_of_an_adapted_flow_count_as_adapted(x):
    flow = fresh()
    model = other_model(flow)
    flow.set_weights(fresh().adapt(x).get_weights())
    assert np.isfinite(fit(model, x)).all()
