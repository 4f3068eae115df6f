"""What a flow is made of: configs, shapes, weights from before `adapt`, and parts that are refused."""

import warnings

import keras
import numpy as np
import pytest
from small_flows import glow, one_line, vectors

from flowkit import Flow
from flowkit.bijectors import Chain, Coupling, Inverse, MultiScale, Permute, Scale, Shift, Squeeze
from flowkit.conditioners import MLP
from flowkit.contract import ContractError

pytestmark = pytest.mark.two_engines


@pytest.mark.one_engine
def test_summary_and_a_symbolic_call_know_the_shapes(images, perturb):
    flow = perturb(glow(input_shape=(8, 8, 1)))
    lines = []
    flow.summary(print_fn=lambda text, **_: lines.append(text))
    assert "64 latents" in "".join(lines)
    inputs = keras.Input((8, 8, 1))
    model = keras.Model(inputs, flow(inputs))
    assert model.output_shape == (None,)
    assert tuple(model(images.astype("float32")).shape) == (16,)


def test_a_config_may_be_read_twice():
    flow = Flow(Chain([Inverse(Shift()), MultiScale([Squeeze(), Squeeze()])]))
    coupled = Flow(Coupling(MLP([4])))
    for one in (flow, coupled):
        config = one.get_config()
        assert type(Flow.from_config(config).bijector) is type(Flow.from_config(config).bijector)
        config = one.bijector.get_config()
        assert type(one.bijector).from_config(config).spec == type(one.bijector).from_config(config).spec


def test_a_layer_in_two_places_is_refused():
    network = MLP([8])
    with pytest.raises(ValueError, match=r"which is also part of 'coupling.*expected a layer of its own"):
        Flow(Chain([Coupling(network), Permute(), Coupling(network)]))


def test_weights_from_before_adapt_are_refused_again(x, tmp_path):
    flow = vectors()
    flow.build((None, 4))
    flow.save_weights(tmp_path / "start.weights.h5")
    flow.adapt(x).log_prob(x)
    flow.load_weights(tmp_path / "start.weights.h5")
    with pytest.raises(ContractError, match="set by adapt"):
        flow.log_prob(x)


def test_images_that_cannot_be_halved_leave_the_flow_as_it_was():
    flow = glow(levels=3)
    with pytest.raises(ContractError, match="Use at most 2 levels") as caught:
        flow.adapt(np.zeros((4, 4, 4, 3), "uint8"))
    one_line(caught.value)
    assert not flow.built
    flow.build((None, 8, 8, 1))
    assert flow.event_shape == (8, 8, 1)


def test_more_digits_than_the_bijector_has_are_warned_of():
    with pytest.warns(UserWarning, match="bijector was made in float32"):
        Flow(Scale(0.0), dtype="float64")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Flow(Scale(0.0, dtype="float64"), dtype="float64")
        Flow(Scale(0.0), dtype="float32")


def test_a_free_axis_has_a_batch_size():
    flow = Flow(Scale(0.0))
    flow.build((None, None, 2))
    assert flow.log_prob(np.zeros((3, 4, 2))).shape == (3,)
