"""What `compile` takes, and what it refuses in place of ignoring it."""

import keras
import numpy as np
import pytest

from flowkit import Flow, LabelledFlow
from flowkit.bijectors import Coupling, Shift
from flowkit.conditioners import MLP

pytestmark = pytest.mark.one_engine


@pytest.mark.parametrize(
    "given", [{"loss": "mse"}, {"loss": []}, {"metrics": ["mae"]}, {"loss_weights": 2.0}]
)
@pytest.mark.parametrize("make", [Flow, lambda bijector: LabelledFlow(bijector, num_classes=2)])
def test_another_loss_is_refused_by_name(make, given):
    (value,) = given.values()
    with pytest.raises(
        ValueError, match=r"compile: got .*, expected an objective as loss=.* and no metrics"
    ) as caught:
        make(Shift(0.0)).compile("adam", **given)
    assert repr(value) in str(caught.value)


def test_no_loss_is_what_is_meant():
    flow = Flow(Shift())
    flow.compile("sgd", loss=None, run_eagerly=True)
    assert flow.run_eagerly
    flow.compile()
    assert isinstance(flow.optimizer, keras.optimizers.RMSprop)


@pytest.mark.every_engine
def test_a_compiled_flow_is_read_as_it_was_saved(tmp_path):
    flow = Flow(Coupling(MLP([4])))
    x = np.random.default_rng(0).normal(size=(32, 2)).astype("float32")
    flow.compile(keras.optimizers.Adam(0.01))
    flow.fit(x, verbose=0)
    flow.save(tmp_path / "f.keras")
    again = keras.saving.load_model(tmp_path / "f.keras")
    assert again.optimizer.iterations == 1
    for one, other in zip(again.optimizer.variables, flow.optimizer.variables, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(one), keras.ops.convert_to_numpy(other))
    again.fit(x, verbose=0)
