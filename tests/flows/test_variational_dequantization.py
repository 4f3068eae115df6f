"""A dequantizer of one's own, with weights that are trained with the flow's."""

import math

import keras
import numpy as np
import pytest
from keras import ops

from flowkit import Flow
from flowkit.bijectors import Chain, Conv1x1, Squeeze
from flowkit.contract import BijectorSpec, Domain
from flowkit.data import Dequantize
from flowkit.objectives import FlowMatching, Objective


@keras.saving.register_keras_serializable("flowkit-tests")
class Logistic(Dequantize):
    """y = (x + u) / levels - 1/2, u = sigmoid(a + e^b eps) with eps standard normal."""

    noise_kind = "normal"

    def __init__(self, n_bits=8, **kwargs):
        super().__init__(n_bits, **kwargs)
        self.spec = BijectorSpec(
            domain=Domain.whole(0, self.stored_levels - 1), noise="forward", likelihood="bound"
        )

    def build(self, x_shape):
        self.a = self.add_weight(shape=(), initializer="zeros", name="a")
        self.b = self.add_weight(
            shape=(), initializer=keras.initializers.Constant(0.6), name="b"
        )  # near uniform

    def _forward(self, x, noise):
        logit = self.a + ops.exp(self.b) * noise
        log_slope = self.b + ops.log_sigmoid(logit) + ops.log_sigmoid(-logit)
        log_q = -0.5 * (ops.square(noise) + math.log(2 * math.pi)) - log_slope
        y, volume = super()._forward(x, ops.sigmoid(logit))
        return y, volume - ops.sum(log_q, axis=-1)


def flow_of(dequantize):
    flow = Flow(Chain([Squeeze(), Conv1x1()]), dequantize=dequantize)
    flow.build((None, 2, 2, 1))
    return flow


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (16, 2, 2, 1), "uint8")


@pytest.mark.one_engine
def test_its_log_det_is_a_part_of_log_prob(pixels):
    flow = flow_of(Logistic())
    dequantize = flow.dequantize
    noise = np.random.default_rng(1).normal(size=(16, 4)).astype("float32")
    _, log_det = dequantize(pixels, noise=noise)
    assert log_det.shape == (16,)
    # The mean over draws of exp(log_prob) is the same for every density of the noise.
    one, many = (f.log_prob(pixels, samples=400).mean() for f in (flow, flow_of(Dequantize())))
    assert abs(one - many) < 0.1  # 20 standard errors
    assert flow.exact == "bound"


def test_its_weights_are_trained_and_saved(pixels, tmp_path):
    flow = flow_of(Logistic())
    flow.compile(keras.optimizers.Adam(0.05))
    before = flow.log_prob(pixels).mean()
    flow.fit(pixels, epochs=30, batch_size=16, verbose=0)
    assert abs(float(flow.dequantize.b) - 0.6) > 1e-3
    assert flow.log_prob(pixels).mean() > before
    loss = flow.evaluate(np.repeat(pixels, 20, axis=0), verbose=0, return_dict=True)["loss"]
    np.testing.assert_allclose(loss, -np.mean([flow.log_prob(pixels, seed=i) for i in range(20)]), rtol=0.02)
    flow.save(tmp_path / "flow.keras")
    loaded = keras.saving.load_model(tmp_path / "flow.keras")
    np.testing.assert_array_equal(loaded.log_prob(pixels), flow.log_prob(pixels))
    assert loaded.sample(3, seed=0).dtype == "uint8"
    assert np.abs(loaded.decode(loaded.encode(pixels)).astype(int) - pixels).max() == 0


@keras.saving.register_keras_serializable("flowkit-tests")
class Smoothed(Objective):
    def __call__(self, flow, x, context):
        return -flow(x)


def test_an_objective_of_continuous_values_is_refused():
    with pytest.raises(ValueError, match=r"Smoothed: got Logistic.*whose log-det varies"):
        flow_of(Logistic()).compile("adam", loss=Smoothed())
    with pytest.raises(ValueError, match="export of 'log_prob': got Logistic"):
        flow_of(Logistic()).export("flow.onnx", "log_prob")


@pytest.mark.parametrize("wrong", [Conv1x1(), Dequantize, "uniform", FlowMatching()])
def test_anything_else_is_refused_when_the_flow_is_made(wrong):
    with pytest.raises(
        TypeError, match=r"dequantize: got .*, expected a flowkit.data.Dequantize, or a Surjection"
    ):
        Flow(Conv1x1(), dequantize=wrong)
