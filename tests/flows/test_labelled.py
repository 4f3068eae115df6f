"""LabelledFlow: the weighted loss against numpy, and a density that knows nothing of it."""

import math

import keras
import numpy as np
import pytest
from arrays import f64
from keras import ops
from tolerance import PARITY

from flowkit import Flow, LabelledFlow, zoo
from flowkit.bijectors import Chain, Conv1x1, Coupling, Scale
from flowkit.conditioners import MLP
from flowkit.contract import ContractError
from flowkit.contract.noise import Need
from flowkit.data.dequantize import Dequantize
from flowkit.flow.rows import counted

pytestmark = pytest.mark.two_engines

WEIGHT = 0.25


@pytest.fixture(scope="module")
def flow(perturb):
    flow = zoo.glow(
        levels=2, steps=1, width=8, num_classes=3, classifier_weight=WEIGHT, input_shape=(8, 8, 1)
    )
    return perturb(flow)


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def vectors():
    return Chain([Conv1x1(), Coupling(MLP([8]))])


@pytest.mark.one_engine
def test_the_classifier_reads_the_mean_of_the_last_scales_output(flow, images):
    y = images / 256.0 - 0.5 + counted((Need("uniform", 64),), 0, len(images)).reshape(images.shape) / 256
    h = ops.convert_to_tensor(y.astype("float32"))
    for scale in flow.bijector.scales:  # the way to the last scale's output, without any prior
        h, _ = scale(h)
        if scale is not flow.bijector.scales[-1]:
            h, _ = ops.split(h, 2, axis=-1)
    head = flow.classifier
    logits = (f64(h).mean((1, 2)) @ f64(head.kernel) + f64(head.bias)) * np.exp(3 * f64(head.logs))
    np.testing.assert_allclose(flow.label_log_prob(images), log_softmax(logits), rtol=PARITY)
    assert [weight.path.split("/", 1)[-1] for weight in head.weights] == [
        "classifier/W",
        "classifier/b",
        "classifier/logs",
    ]


def test_the_loss_is_bits_x_plus_weighted_bits_y(flow, images, labels):
    rng = np.random.default_rng(0)
    log_prob, logits = rng.normal(-300, 20, 16), rng.normal(size=(16, 3))
    bits_x = -log_prob / (64 * math.log(2))
    bits_y = -log_softmax(logits)[np.arange(16), labels] / math.log(2)
    predicted = {
        "log_prob": ops.convert_to_tensor(log_prob, "float32"),
        "logits": ops.convert_to_tensor(logits, "float32"),
    }
    batch = {"x": ops.convert_to_tensor(images), "context": ops.convert_to_tensor(labels)}
    rtol = 64 * np.finfo("float32").eps
    for sample_weight in (None, rng.uniform(0, 2, 16)):
        factor = 1 if sample_weight is None else sample_weight
        expected = 64 * math.log(2) * (factor * (bits_x + WEIGHT * bits_y)).mean()
        given = None if sample_weight is None else ops.convert_to_tensor(sample_weight, "float32")
        loss = flow.compute_loss(batch, y_pred=predicted, sample_weight=given)
        np.testing.assert_allclose(f64(loss), expected, rtol=rtol)

    flow.reset_metrics()
    flow.compute_metrics(batch, None, predicted)
    np.testing.assert_allclose(f64(flow.label_bits.result()), bits_y.mean(), rtol=rtol)
    np.testing.assert_allclose(f64(flow.bits.result()), bits_x.mean(), rtol=rtol)
    assert f64(flow.label_error.result()) == pytest.approx((logits.argmax(-1) != labels).mean())


@pytest.mark.one_engine
def test_densities_samples_and_latents_are_those_without_it(flow, images, labels):
    plain = Flow(flow.bijector, dequantize=flow.dequantize)
    plain.build({"x": (None, 8, 8, 1), "context": (None,)})
    assert np.array_equal(flow.log_prob(images, labels), plain.log_prob(images, labels))
    assert np.array_equal(flow.encode(images, labels), plain.encode(images, labels))
    draw = {"context": labels[:3], "seed": 0, "temperature": 0.5}
    assert np.array_equal(flow.sample(2, **draw), plain.sample(2, **draw))


def test_any_flow_learns_to_tell_classes_apart():
    rng = np.random.default_rng(0)
    labels = np.arange(256) % 2
    x = (rng.normal(size=(256, 4)) + 4 * labels[:, None]).astype("float32")
    flow = LabelledFlow(vectors(), num_classes=2, label_weight=1.0)
    flow.compile(optimizer=keras.optimizers.Adam(0.05))
    history = flow.fit(x, context=labels, epochs=6, batch_size=32, verbose=0).history
    assert history["label_bits"][-1] < 0.5 < history["label_bits"][0]
    expected = np.array(history["nll"]) + 4 * math.log(2) * np.array(history["label_bits"])
    np.testing.assert_allclose(history["loss"], expected, rtol=256 * np.finfo("float32").eps)
    scores = flow.evaluate(x, context=labels, batch_size=64, verbose=0, return_dict=True)
    told = flow.label_log_prob(x).argmax(-1)
    missed = (told != labels).mean()
    assert missed < 0.1
    assert scores["label_error"] == pytest.approx(missed)
    assert flow.log_prob(x).shape == (256,)  # the density itself asks for no label
    assert set(flow.predict(x[:5], verbose=0)) == {"log_prob", "logits"}


def test_it_is_saved_and_loaded(flow, images, labels, tmp_path):
    flow.save(tmp_path / "flow.keras")
    again = keras.saving.load_model(tmp_path / "flow.keras")
    assert isinstance(again, LabelledFlow)
    assert (again.num_classes, again.label_weight) == (3, WEIGHT)
    assert np.array_equal(again.label_log_prob(images), flow.label_log_prob(images))
    assert np.array_equal(again.log_prob(images, labels), flow.log_prob(images, labels))


def test_without_labels_it_cannot_be_fitted():
    flow = LabelledFlow(vectors(), num_classes=2)
    flow.compile(optimizer="sgd", jit_compile=False)
    with pytest.raises(ContractError, match=r"expected integer labels .*classifier"):
        flow.fit(np.ones((8, 4), "float32"), verbose=0)


@pytest.mark.parametrize("labels", [np.array([0, 3]), np.array([0.0, 1.0])])
def test_labels_are_checked(labels):
    flow = LabelledFlow(vectors(), num_classes=2)
    flow.compile(optimizer="sgd")
    with pytest.raises(ContractError, match=r"integer labels \(batch,\) in 0\.\.1"):
        flow.fit(np.ones((2, 4), "float32"), context=labels, verbose=0)


def test_what_it_refuses_to_be_made_of(flow):
    with pytest.raises(ValueError, match="num_classes: got None, expected the number of classes"):
        LabelledFlow(Scale(0.0))
    with pytest.raises(ValueError, match="num_classes: got 4, expected the bijector's 3"):
        LabelledFlow(flow.bijector, num_classes=4)
    with pytest.raises(ValueError, match="label_weight: got 0, expected a finite number above 0"):
        LabelledFlow(Scale(0.0), num_classes=2, label_weight=0)
    with pytest.raises(ValueError, match="reads the context, expected latents that do not depend on it"):
        LabelledFlow(Coupling(MLP([8], context="required", num_classes=2)), num_classes=2)
    with pytest.raises(ValueError, match="num_classes: got None, expected a number for classifier_weight"):
        zoo.glow(classifier_weight=0.01)


@pytest.mark.one_engine
def test_a_chain_that_ends_in_levels_has_the_features_of_the_levels(images):
    glow = zoo.glow(levels=2, steps=1, width=8, input_shape=(8, 8, 1))
    inner = LabelledFlow(glow.bijector, num_classes=3, dequantize=glow.dequantize)
    outer = LabelledFlow(Chain([Scale(0.0), glow.bijector]), num_classes=3, dequantize=Dequantize())
    for flow in (inner, outer):
        flow.build((None, 8, 8, 1))
    assert inner.classifier.kernel.shape == outer.classifier.kernel.shape
    outer.adapt(images)
    assert np.isfinite(outer.label_log_prob(images)).all()
