"""Networks inside a flow that act otherwise in training: in `fit` and on a batch, and not in evaluation."""

import keras
import numpy as np
import pytest
from keras import ops

from flowkit import Flow
from flowkit.bijectors import Chain, Coupling, Permute
from flowkit.conditioners import MLP
from flowkit.contract import ContractError

RANDOM = {"dropout": lambda: keras.layers.Dropout(0.5), "noise": lambda: keras.layers.GaussianNoise(1.0)}


def network(layer):
    return keras.Sequential([keras.layers.Dense(16), layer, keras.layers.Dense(4)])


def in_coupling(layer, **options):
    flow = Flow(Chain([Coupling(network(layer)), Permute(), Coupling(MLP([4]))], **options))
    flow.build((None, 4))
    return off_start(flow)


def off_start(flow):
    rng = np.random.default_rng(3)
    for weight in flow.trainable_weights:
        weight.assign(weight + rng.normal(scale=0.3, size=weight.shape))
    flow.compile(keras.optimizers.SGD(0.0))
    return flow


def losses(flow, x, **options):
    return flow.fit(x, epochs=3, batch_size=len(x), shuffle=False, verbose=0, **options).history["loss"]


def on_batch(flow, x):
    return float(flow.train_on_batch(x, return_dict=True)["loss"])


def moving(flow):
    return [ops.convert_to_numpy(w) for w in flow.non_trainable_weights if w.path.endswith("moving_mean")]


@pytest.mark.parametrize("kind", RANDOM)
def test_random_layers_of_a_coupling_act_in_training_alone(x, kind):
    flow = in_coupling(RANDOM[kind]())
    assert len(set(losses(flow, x))) == 3
    assert len({on_batch(flow, x) for _ in range(3)}) == 3
    same = {flow.evaluate(x, verbose=0, return_dict=True)["loss"] for _ in range(2)}
    assert len(same) == 1
    np.testing.assert_allclose(same.pop(), -flow.log_prob(x).mean(), rtol=1e-5)
    np.testing.assert_allclose(flow.predict(x, verbose=0), flow.log_prob(x), rtol=1e-5)


def test_random_layers_of_an_embedding_act_in_training_alone(x, context):
    embedding = keras.Sequential([keras.layers.Dense(16), keras.layers.Dropout(0.5)])
    flow = Flow(Coupling(MLP([8], context="required")), embedding=embedding)
    flow.build({"x": (None, 4), "context": (None, 2)})
    off_start(flow)
    assert len(set(losses(flow, x, context=context))) == 3
    inputs = {"x": x, "context": context}
    assert len({flow.evaluate(inputs, verbose=0, return_dict=True)["loss"] for _ in range(2)}) == 1


@pytest.mark.parametrize("how", ["fit", "train_on_batch"])
def test_batch_normalisation_uses_and_moves_its_statistics(x, how):
    flow = in_coupling(keras.layers.BatchNormalization())
    (before,) = moving(flow)
    scored = -flow.log_prob(x).mean()
    train = {"fit": lambda: losses(flow, x)[0], "train_on_batch": lambda: on_batch(flow, x)}
    assert abs(train[how]() - scored) > 1e-3  # the batch's statistics, not the moving ones
    (after,) = moving(flow)
    assert (before != after).all()
    flow.evaluate(x, verbose=0)
    np.testing.assert_array_equal(moving(flow), [after])


@pytest.mark.parametrize("training", [True, False])
def test_a_stateless_call_is_in_the_mode_that_it_names(x, training):
    flow = in_coupling(keras.layers.BatchNormalization())
    state = (
        [w.value for w in weights] for weights in (flow.trainable_variables, flow.non_trainable_variables)
    )
    _, changed = flow.stateless_call(*state, ops.convert_to_tensor(x), training=training)
    moved = [
        (ops.convert_to_numpy(one) != ops.convert_to_numpy(other)).any()
        for one, other in zip(changed, flow.non_trainable_variables, strict=True)
        if other.path.endswith("moving_mean")
    ]
    assert moved == [training]


@pytest.mark.parametrize("backprop", ["recompute", "reversible"])
def test_moving_statistics_expect_stored_activations(backprop):
    with pytest.raises(ContractError, match="moves its statistics in training"):
        in_coupling(keras.layers.BatchNormalization(), backprop=backprop)
