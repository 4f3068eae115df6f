"""Training: what is adapted and learned from, what callbacks see, and one step however it is compiled."""

import math

import keras
import numpy as np
import pytest
from keras import ops
from small_flows import glow, moved, vectors, weights
from tolerance import PARITY

from flowkit import Flow
from flowkit.bijectors import ActNorm, Chain, Coupling, Permute, Shift
from flowkit.conditioners import MLP
from flowkit.contract.inside import layers_inside
from flowkit.distributed import group
from flowkit.engines import engine
from flowkit.flow.group import check_devices


@pytest.mark.one_engine
def test_fit_images_in_their_stored_form(images):
    flow = glow(n_bits=5)
    flow.compile(optimizer="adam")
    history = flow.fit(images, epochs=2, batch_size=8, verbose=0).history
    # Means of the same float32 numbers, summed in another order.
    np.testing.assert_allclose(history["nll"], history["loss"], rtol=256 * np.finfo("float32").eps)
    np.testing.assert_allclose(
        np.array(history["bits_per_dim"]) * math.prod(images.shape[1:]) * math.log(2),
        history["nll"],
        rtol=256 * np.finfo("float32").eps,
    )
    assert flow.bijector.adapted


def test_fit_takes_labels_by_each_road(x):
    labels, trained = np.arange(20) % 3, []
    for data, given in (((x,), {"context": labels}), ((x, labels), {}), (({"x": x, "context": labels},), {})):
        keras.utils.set_random_seed(0)
        net = MLP([8], context="required", num_classes=3)
        flow = Flow(Coupling(net))
        flow.compile(optimizer=keras.optimizers.Adam(0.1))
        flow.adapt(x, labels)
        before = ops.convert_to_numpy(net.bias.kernel)
        flow.fit(*data, **given, batch_size=10, epochs=2, shuffle=False, verbose=0)
        trained.append(ops.convert_to_numpy(net.bias.kernel))
    # Every class was learned from; the last layer starts at zero, so that takes a second step.
    assert np.abs(trained[0] - before).max(axis=1).min() > 0
    np.testing.assert_allclose(trained[1:], trained[:1] * 2, rtol=1e-5)


def test_fit_leaves_adapted_parts_as_they_are():
    x = np.random.default_rng(0).normal(3, 2, (64, 4)).astype("float32")
    old, new = ActNorm(), ActNorm()
    old.adapt(x - 3)
    kept = ops.convert_to_numpy(old.logs)
    flow = Flow(Chain([old, Permute(), new]))
    flow.compile(keras.optimizers.SGD(0.0))
    flow.fit(x, batch_size=64, verbose=0)
    np.testing.assert_array_equal(ops.convert_to_numpy(old.logs), kept)
    z = flow.encode(x)
    assert abs(z.mean()) < 1e-4  # the new one has seen what the old one gives
    assert abs(z.std() - 1) < 1e-3


def test_callbacks_run_and_checkpoints_load(x, tmp_path):
    seen = []
    flow = vectors()
    flow.compile(optimizer="adam")
    flow.fit(
        x,
        epochs=4,
        verbose=0,
        callbacks=[
            keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(logs["loss"])),
            keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", monitor="loss", save_best_only=True),
            keras.callbacks.EarlyStopping(monitor="loss", min_delta=1e9, patience=1),
        ],
    )
    assert len(seen) == 2  # nothing improves by 1e9, so it stops after the epoch that it waits for
    best = keras.saving.load_model(tmp_path / "best.keras")
    assert np.isfinite(best.log_prob(x)).all()
    before = weights(best)
    best.fit(x, verbose=0)  # compiled as it was saved
    assert moved(best, before)


def test_sample_weights_weigh(x):
    rows = np.array([1.0] * 10 + [0.0] * 10, "float32")
    flow = vectors()
    flow.adapt(x)
    flow.compile(optimizer=keras.optimizers.SGD(0.01))
    before = weights(flow)
    flow.fit(x, sample_weight=np.zeros(20, "float32"), batch_size=20, verbose=0)
    assert not moved(flow, before)
    flow.fit(x, sample_weight=rows, batch_size=20, verbose=0, shuffle=False)
    assert moved(flow, before)
    # Rows of weight zero have no say: spoiling them changes nothing.
    after = weights(flow)
    for weight, value in zip(flow.trainable_weights, before, strict=True):
        weight.assign(value)
    spoiled = np.concatenate([x[:10], 3 * x[10:]])
    flow.fit(spoiled, sample_weight=rows, batch_size=20, verbose=0, shuffle=False)
    for one, other in zip(weights(flow), after, strict=True):
        np.testing.assert_allclose(one, other, atol=64 * np.finfo("float32").eps)


@pytest.mark.long
def test_compiled_training_is_that_of_eager_training(x):
    """jit_compile=True is XLA on jax and tensorflow and torch.compile on torch."""

    def trained(**options):
        keras.utils.set_random_seed(0)
        flow = Flow(Coupling(MLP([4])))
        flow.compile(optimizer=keras.optimizers.SGD(1e-2), **options)
        loss = flow.fit(x, batch_size=10, epochs=1, shuffle=False, verbose=0).history["loss"]
        return loss, weights(flow)

    eager, compiled = trained(run_eagerly=True), trained(jit_compile=True)
    np.testing.assert_allclose(eager[0], compiled[0], rtol=PARITY)
    for one, other in zip(eager[1], compiled[1], strict=True):
        # Weights of the size of 1, moved by gradients that agree to PARITY.
        np.testing.assert_allclose(one, other, atol=PARITY)


def test_a_built_flow_is_not_traced_again_for_each_batch(x):
    class Counted(Shift):
        calls = 0

        def _forward(self, x):
            Counted.calls += 1
            return super()._forward(x)

    flow = Flow(Counted(0.0))
    flow.compile(optimizer="sgd", run_eagerly=True)
    flow.train_on_batch(x)
    before = Counted.calls
    flow.train_on_batch(x)
    assert Counted.calls == before + 1


def test_mixed_precision_trains_and_scores_in_float32(policy, images):
    policy("mixed_bfloat16")
    flow = glow(levels=1)
    flow.compile(optimizer="adam")
    history = flow.fit(images, epochs=1, batch_size=8, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    couplings = [layer for layer in layers_inside(flow) if isinstance(layer, Coupling)]
    assert {coupling.conditioner.compute_dtype for coupling in couplings} == {"bfloat16"}
    assert {weight.dtype for weight in flow.trainable_weights} == {"float32"}
    assert flow.log_prob(images).dtype == flow.encode(images).dtype == np.float32
    assert keras.backend.standardize_dtype(flow(images).dtype) == "float32"


def test_networks_in_float16_need_their_loss_scaled():
    flow = Flow(Chain([ActNorm(), Coupling(MLP([8], dtype="mixed_float16"))]))
    flow.compile("adam")
    x = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
    with pytest.raises(ValueError, match="LossScaleOptimizer"):
        flow.fit(x, verbose=0)
    flow.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam()))
    flow.fit(x, epochs=2, verbose=0)
    assert np.isfinite(flow.log_prob(x)).all()


@pytest.mark.skipif(engine.name != "tensorflow", reason="only TensorFlow adds up what replicas give")
@pytest.mark.every_engine
def test_two_replicas_step_as_one_does(run_python):
    code = """
        import numpy as np, tensorflow as tf
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
        import keras, flowkit
        from flowkit.bijectors import Shift
        x = np.random.default_rng(0).normal(2, 1, (8, 3)).astype("float32")
        def step(strategy):
            with strategy.scope():
                flow = flowkit.Flow(Shift())
                flow.build((None, 3))
                flow.compile(keras.optimizers.SGD(0.5), jit_compile=False)
            loss = flow.fit(x, batch_size=8, verbose=0).history["loss"][0]
            return [loss, *flow.bijector.get_weights()[0]]
        one = step(tf.distribute.OneDeviceStrategy("/CPU:0"))
        two = step(tf.distribute.MirroredStrategy(["/CPU:0", "/CPU:1"]))
        print(np.allclose(one, two, rtol=1e-5), one[1] != 0)
    """
    assert run_python(code, engine="tensorflow").splitlines()[-1] == "True True"


@pytest.mark.one_engine
def test_processes_that_joined_without_flowkit_do_not_train_apart(monkeypatch):
    monkeypatch.setattr(group, "_started", False)  # other tests of this worker may have called start()
    monkeypatch.setattr(engine, "processes", lambda: 2)
    with pytest.raises(RuntimeError, match=r"Call flowkit\.distributed\.start\(\)"):
        check_devices()
