"""Flow: training, densities, samples, latents, and the input it refuses."""

import math

import keras
import numpy as np
import pytest
from keras import ops
from tolerance import PARITY

import flowkit
from flowkit import Flow, backends, zoo
from flowkit.bijectors import (
    ActNorm,
    Chain,
    Conv1x1,
    Coupling,
    Inverse,
    MultiScale,
    Permute,
    Scale,
    Shift,
    Squeeze,
)
from flowkit.conditioners import MLP
from flowkit.contract import ContractError
from flowkit.data.dequantize import Dequantize
from flowkit.distributions import Normal
from flowkit.training import GuardedOptimizer
from flowkit.transforms import Affine


def glow(**options):
    return zoo.glow(**{"levels": 2, "steps": 1, "width": 8, **options})


def vectors(context="none"):
    """A flow of 4 continuous numbers, conditional on 2 others where asked."""
    net = {"hidden": [8], "context": context}
    return Flow(
        Chain([ActNorm(), Conv1x1(), Coupling(MLP(**net)), Permute(), Coupling(MLP(**net), Affine("tanh"))])
    )


@pytest.fixture(scope="module")
def image_flow(perturb):
    return perturb(glow(input_shape=(8, 8, 1)))


@pytest.fixture(scope="module")
def class_flow(perturb):
    return perturb(glow(input_shape=(8, 8, 1), num_classes=3), scale=0.2)


@pytest.fixture(scope="module")
def vector_flow(perturb):
    flow = vectors()
    flow.build((None, 4))
    return perturb(flow, scale=0.3)


@pytest.fixture(scope="module")
def context_flow(perturb):
    flow = vectors("required")
    flow.build({"x": (None, 4), "context": (None, 2)})
    return perturb(flow, scale=0.3)


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).normal(size=(20, 4)).astype("float32")


@pytest.fixture(scope="module")
def context():
    return np.random.default_rng(1).normal(size=(20, 2)).astype("float32")


# Training


def weights(flow):
    return [ops.convert_to_numpy(weight) for weight in flow.trainable_weights]


def moved(flow, before):
    return any((one != other).any() for one, other in zip(before, weights(flow), strict=True))


def test_fit_adapts_learns_and_reports():
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(256, 4)) @ rng.normal(size=(4, 4)) + 3).astype("float32")
    flow = vectors()
    flow.compile(optimizer=keras.optimizers.Adam(0.02))
    history = flow.fit(x, epochs=3, batch_size=32, verbose=0).history
    assert flow.bijector.adapted
    assert {"loss", "nll", "bits_per_dim"} <= history.keys()
    assert history["nll"][-1] < history["nll"][0]
    # Both are means of the same float32 numbers, summed in another order.
    np.testing.assert_allclose(history["nll"], history["loss"], rtol=256 * np.finfo("float32").eps)
    np.testing.assert_allclose(
        np.array(history["bits_per_dim"]) * 4 * math.log(2),
        history["nll"],
        rtol=256 * np.finfo("float32").eps,
    )


def test_fit_images_in_their_stored_form(images):
    flow = glow(n_bits=5)
    flow.compile(optimizer="adam")
    history = flow.fit(images, epochs=2, batch_size=8, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert flow.bijector.adapted


@pytest.mark.parametrize("how", ["context", "y", "dict"])
def test_fit_with_labels(x, how):
    net = MLP([8], context="required", num_classes=3)
    labels = np.arange(20) % 3
    flow = Flow(Coupling(net))
    flow.build({"x": (None, 4), "context": (None,)})
    flow.compile(optimizer=keras.optimizers.Adam(0.1))
    before = ops.convert_to_numpy(net.bias.kernel)
    if how == "context":
        flow.fit(x, context=labels, batch_size=10, epochs=2, verbose=0)
    elif how == "y":
        flow.fit(x, labels, batch_size=10, epochs=2, verbose=0)
    else:
        flow.fit({"x": x, "context": labels}, batch_size=10, epochs=2, verbose=0)
    # Every class was learned from; the last layer starts at zero, so that takes a second step.
    assert np.abs(ops.convert_to_numpy(net.bias.kernel) - before).max(axis=1).min() > 0


class Rows(keras.utils.PyDataset):
    def __init__(self, parts, size=8):
        super().__init__()
        self.parts, self.size = parts, size

    def __len__(self):
        return len(next(iter(self.parts.values()))) // self.size

    def __getitem__(self, i):
        rows = slice(i * self.size, (i + 1) * self.size)
        return ({key: value[rows] for key, value in self.parts.items()},)


def as_dataset(kind, x, context):
    """`({"x": ..., "context": ...},)` in batches of 8, as one of the kinds of data set that Keras takes."""
    parts = {"x": x[:16], "context": context[:16]}
    if kind == "PyDataset":
        return Rows(parts)
    if kind == "generator":
        return (Rows(parts)[i] for i in range(2))
    if kind == "torch":
        import torch
        from torch.utils.data import DataLoader

        items = [{"x": a, "context": b} for a, b in zip(parts["x"], parts["context"], strict=True)]

        def collate(rows):
            stack = {key: np.stack([row[key] for row in rows]) for key in ("x", "context")}
            return ({key: torch.from_numpy(value) for key, value in stack.items()},)

        return DataLoader(items, batch_size=8, collate_fn=collate)
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices((parts,)).batch(8)


KINDS = ["PyDataset", "generator", *(["torch"] if backends.installed("torch") else [])]
KINDS += ["tf.data"] if backends.installed("tensorflow") else []


@pytest.mark.parametrize("kind", KINDS)
def test_fit_takes_what_keras_takes(kind, x, context):
    def trained(data, **options):
        keras.utils.set_random_seed(0)
        flow = vectors("required")
        flow.compile(optimizer=keras.optimizers.SGD(0.01))
        flow.fit(data, verbose=0, **options)
        return flow

    flow = trained(as_dataset(kind, x, context))
    assert flow.bijector.adapted
    # Nothing is lost on the way, the first batch that was looked at included.
    reference = trained(x[:16], context=context[:16], batch_size=8, shuffle=False)
    for one, other in zip(weights(flow), weights(reference), strict=True):
        np.testing.assert_allclose(one, other, atol=64 * np.finfo("float32").eps)


def test_validation_data_are_scored(x, context):
    flow = vectors("required")
    flow.compile(optimizer="adam")
    for validation in ((x[16:], context[16:]), Rows({"x": x[16:], "context": context[16:]}, size=4)):
        history = flow.fit(x, context=context, validation_data=validation, verbose=0, batch_size=10).history
        expected = -flow.log_prob(x[16:], context[16:]).mean()
        np.testing.assert_allclose(history["val_nll"][-1], expected, rtol=PARITY)
        assert {"val_loss", "val_bits_per_dim"} <= history.keys()


def test_validation_data_are_checked(x):
    flow = vectors()
    flow.compile(optimizer="adam")
    bad = np.full((4, 4), np.nan, "float32")
    with pytest.raises(ValueError, match="NaN or infinite"):
        flow.fit(x, validation_data=bad, verbose=0)


def test_evaluate_is_the_mean_of_log_prob(vector_flow, context_flow, x, context):
    vector_flow.compile()
    result = vector_flow.evaluate(x, batch_size=5, verbose=0, return_dict=True)
    np.testing.assert_allclose(result["nll"], -vector_flow.log_prob(x).mean(), rtol=PARITY)
    np.testing.assert_allclose(result["bits_per_dim"], vector_flow.bits_per_dim(x).mean(), rtol=PARITY)
    context_flow.compile()
    result = context_flow.evaluate({"x": x, "context": context}, batch_size=5, verbose=0, return_dict=True)
    np.testing.assert_allclose(result["nll"], -context_flow.log_prob(x, context).mean(), rtol=PARITY)


def test_evaluate_takes_a_context_as_fit_does(context_flow, x, context):
    context_flow.compile()
    expected = -context_flow.log_prob(x, context).mean()
    for given in ({"context": context}, {"y": context}):
        result = context_flow.evaluate(x, **given, batch_size=5, verbose=0, return_dict=True)
        np.testing.assert_allclose(result["nll"], expected, rtol=PARITY)
    with pytest.raises(ContractError, match="received none"):
        context_flow.evaluate(x, verbose=0)


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


@pytest.mark.parametrize("call", ["evaluate", "predict"])
@pytest.mark.parametrize("kind", ["array", "data set"])
@pytest.mark.parametrize("built", [True, False])
def test_scores_of_a_flow_that_waits_for_adapt_are_refused(call, kind, built, images):
    """A traced step cannot ask whether the flow is adapted."""
    flow = glow(input_shape=(8, 8, 1) if built else None)
    flow.compile()
    with pytest.raises(ContractError, match="set by adapt"):
        getattr(flow, call)(images if kind == "array" else Rows({"x": images}), verbose=0)


def test_what_is_not_finite_counts_unless_its_step_is_skipped():
    """A mean without it would be that of other data; one of nothing is not 0, the best of all."""
    rows = np.array([[0.0, 0.0], [9.0, 9.0]], "float32")  # the second has density 0

    def scores(optimizer):
        flow = Flow(Scale(), Cube())
        flow.compile(optimizer=optimizer)
        history = flow.fit(rows, validation_data=rows, batch_size=1, shuffle=False, verbose=0).history
        assert history["val_nll"] == [np.inf]
        assert flow.evaluate(rows, verbose=0, return_dict=True)["bits_per_dim"] == np.inf
        return history["nll"], flow.fit(rows[1:], verbose=0).history["nll"]

    assert scores(keras.optimizers.SGD(0.0)) == ([np.inf], [np.inf])
    assert scores(GuardedOptimizer(keras.optimizers.SGD(0.0))) == (
        [0.0],
        [pytest.approx(np.nan, nan_ok=True)],
    )


@pytest.mark.parametrize("call", ["train_on_batch", "test_on_batch", "predict_on_batch"])
def test_single_batches_are_held_to_the_same(call, images):
    flow = glow(input_shape=(8, 8, 1))
    flow.compile()
    with pytest.raises(ContractError, match="set by adapt"):
        getattr(flow, call)(images)
    flow.adapt(images)
    with pytest.raises(ValueError, match=r"0\.\.255"):
        getattr(flow, call)(images / 255)
    assert np.isfinite(getattr(flow, call)(images)).all()


@pytest.mark.parametrize("call", ["fit", "evaluate", "predict"])
@pytest.mark.parametrize("kind", ["array", "data set"])
def test_data_are_checked_whatever_brings_them(call, kind, images):
    flow = glow().adapt(images)
    flow.compile()
    scaled = (images / 255).astype("float32")
    with pytest.raises(ValueError, match=r"0\.\.255"):
        getattr(flow, call)(scaled if kind == "array" else Rows({"x": scaled}), verbose=0)


def test_a_data_set_for_validation_is_checked(x):
    flow = vectors().adapt(x)
    flow.compile()
    with pytest.raises(ValueError, match="NaN"):
        flow.fit(x, validation_data=Rows({"x": x * np.nan}), verbose=0)


def test_a_label_that_is_no_class_gives_nan_on_every_engine(class_flow, images):
    """Where nothing can look: in a later batch of a data set."""
    inputs = {"x": images.astype("float32"), "context": np.array([0, 1, 2, 3] * 4)}
    log_prob = ops.convert_to_numpy(class_flow(inputs))
    np.testing.assert_array_equal(np.isfinite(log_prob), inputs["context"] < 3)


def test_weights_are_not_taken_by_place_and_classes_are_not_weighed(x):
    flow = vectors().adapt(x)
    flow.compile()
    with pytest.raises(TypeError, match="positional"):
        flow.evaluate(x, None, 10, 0, np.ones(20))
    with pytest.raises(ValueError, match="sample_weight="):
        flow.fit(x, class_weight={0: 1.0})


def test_weights_from_before_adapt_are_refused_again(x, tmp_path):
    flow = vectors()
    flow.build((None, 4))
    flow.save_weights(tmp_path / "start.weights.h5")
    flow.adapt(x).log_prob(x)
    flow.load_weights(tmp_path / "start.weights.h5")
    with pytest.raises(ContractError, match="set by adapt"):
        flow.log_prob(x)


def test_summary_and_a_symbolic_call_know_the_shapes(images, perturb):
    flow = perturb(glow(input_shape=(8, 8, 1)))
    lines = []
    flow.summary(print_fn=lambda text, **_: lines.append(text))
    assert "(None, 64)" in "".join(lines)
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


@pytest.mark.parametrize("make", [Flow, Inverse, lambda part: Chain([part]), lambda part: MultiScale([part])])
def test_what_is_no_bijector_is_refused_when_the_flow_is_made(make):
    with pytest.raises(TypeError, match=r"expects .*bijector.*, received .*Dense"):
        make(keras.layers.Dense(2))


def test_callbacks_run_and_checkpoints_load(x, tmp_path):
    seen = []
    flow = vectors()
    flow.compile(optimizer="adam")
    flow.fit(
        x,
        epochs=4,
        verbose=0,
        callbacks=[
            keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(logs["nll"])),
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


def test_the_loss_is_the_weighted_mean():
    log_prob = ops.convert_to_tensor([-1.0, -2.0, -6.0])
    flow = vectors()
    assert float(flow.compute_loss(y_pred=log_prob)) == 3.0
    assert (
        float(flow.compute_loss(y_pred=log_prob, sample_weight=ops.convert_to_tensor([1.0, 1.0, 0.0]))) == 1.0
    )


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


def test_mixed_precision_trains_and_scores_in_float32(policy, images):
    policy("mixed_bfloat16")
    flow = glow(levels=1)
    flow.compile(optimizer="adam")
    history = flow.fit(images, epochs=1, batch_size=8, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert flow.bijector.scales[0].parts[3].conditioner.compute_dtype == "bfloat16"
    assert {weight.dtype for weight in flow.trainable_weights} == {"float32"}
    assert flow.log_prob(images).dtype == flow.encode(images).dtype == np.float32
    assert keras.backend.standardize_dtype(flow(images).dtype) == "float32"


# Densities


def test_log_prob_by_hand():
    """Two numbers that are shifted by 1 and scored by a standard normal."""
    x = np.array([[0.0, -1.0], [2.0, 0.5]], "float32")
    flow = Flow(Shift(1.0))
    expected = -0.5 * ((x + 1) ** 2 + np.log(2 * np.pi)).sum(axis=1)
    log_prob = flow.log_prob(x)
    assert isinstance(log_prob, np.ndarray)
    np.testing.assert_allclose(log_prob, expected, rtol=4 * np.finfo("float32").eps)
    np.testing.assert_allclose(flow.bits_per_dim(x), -expected / (2 * np.log(2)), rtol=PARITY)


@pytest.mark.parametrize("name", ["image_flow", "class_flow", "vector_flow", "context_flow"])
def test_log_prob_does_not_depend_on_the_batch_size(request, name, images, labels, x, context):
    flow = request.getfixturevalue(name)
    data = images if name in ("image_flow", "class_flow") else x[:16]
    given = {"class_flow": labels, "context_flow": context[:16]}.get(name)
    whole = flow.log_prob(data, given)
    for size in (1, 7):
        np.testing.assert_allclose(flow.log_prob(data, given, batch_size=size), whole, rtol=PARITY)
    reverse = flow.log_prob(data[::-1], None if given is None else given[::-1])
    if flow.dequantize is None:  # noise belongs to a sample's place in the batch
        np.testing.assert_allclose(reverse[::-1], whole, rtol=PARITY)


def test_the_call_is_log_prob_and_carries_gradients(vector_flow, x):
    np.testing.assert_allclose(
        ops.convert_to_numpy(ops.stop_gradient(vector_flow(x))), vector_flow.log_prob(x), rtol=PARITY
    )
    value, (gradient,) = backends.gradients(lambda t: ops.sum(vector_flow(t[0])), [x])
    gradient = ops.convert_to_numpy(gradient)
    # d log p / d x along one random direction, against a central difference in float32.
    direction = np.random.default_rng(0).normal(size=x.shape).astype("float32")
    step = 1e-2
    ends = [vector_flow.log_prob(x + sign * step * direction).astype("float64").sum() for sign in (1, -1)]
    difference = (ends[0] - ends[1]) / (2 * step)
    # Truncation ~ step^2, rounding ~ |value| eps / step.
    bound = 10 * step**2 * abs(difference) + 64 * abs(float(value)) * np.finfo("float32").eps / step
    assert abs((gradient * direction).sum() - difference) <= bound


def test_images_of_another_size_where_the_weights_belong_to_channels():
    """Each size has its own compiled function and its own number of dimensions."""
    flow = Flow(Chain([Scale([0.1, 0.2]), Conv1x1(seed=0)]))
    for side in (4, 6, 8):
        x = np.random.default_rng(side).normal(size=(3, side, side, 2)).astype("float32")
        y = (x * np.exp([0.1, 0.2])).astype("float64")
        size = 2 * side**2
        # A rotation keeps lengths.
        expected = -0.5 * ((y**2).sum((1, 2, 3)) + size * np.log(2 * np.pi)) + side**2 * 0.3
        np.testing.assert_allclose(flow.log_prob(x), expected, rtol=PARITY)
        np.testing.assert_allclose(flow.bits_per_dim(x), -expected / (size * np.log(2)), rtol=PARITY)


def test_log_prob_reads_the_weights_as_they_are_now(perturb, x):
    flow = vectors()
    flow.build((None, 4))
    perturb(flow)
    before = flow.log_prob(x)
    shift = flow.bijector.parts[0].shift
    shift.assign(ops.convert_to_numpy(shift) + 1)
    assert np.abs(flow.log_prob(x) - before).max() > 0.1


@keras.saving.register_keras_serializable("flowkit-tests")
class Cube(keras.Layer):
    """log p(z) = 0 on [-1/2, 1/2), -inf outside: the uniform density of what Dequantize gives."""

    def log_prob(self, z, context=None):
        inside = ops.all(ops.logical_and(z >= -0.5, z < 0.5), axis=tuple(range(1, len(z.shape))))
        return ops.where(inside, 0.0, -math.inf)


@pytest.mark.parametrize(
    ("options", "bits"), [({"n_bits": n}, n) for n in range(1, 9)] + [({"levels": 17}, math.log2(17))]
)
@pytest.mark.parametrize("samples", [1, 3])
def test_uniform_data_over_2_to_the_b_levels_score_b_bits(options, bits, samples):
    flow = Flow(Shift(0.0), Cube(), dequantize=Dequantize(**options))
    top = options.get("levels", 256)
    x = np.random.default_rng(0).integers(0, top, (50, 4, 4, 3), dtype="uint8")
    x[0], x[1] = 0, top - 1
    scores = flow.bits_per_dim(x, samples=samples)
    np.testing.assert_allclose(scores, bits, rtol=4 * np.finfo("float32").eps)  # D ln(levels) in float32


def test_the_importance_weighted_bound_is_tighter():
    """Under a narrow base a pixel's probability depends much on the noise, so the bounds are far apart."""
    flow = Flow(Scale(math.log(8)), dequantize=Dequantize(n_bits=1))
    x = np.full((50, 2, 2, 1), 200, "uint8")
    bits = [flow.bits_per_dim(x, samples=samples).mean() for samples in (1, 10, 1000)]
    # By hand: a pixel of level 1 has the mass of 8 y, standard normal, for y in [0, 1/2).
    exact = -math.log2(math.erf(4 / math.sqrt(2)) / 2)
    assert bits[0] > bits[1] > bits[2] > exact - 0.05
    assert abs(bits[2] - exact) < 0.05


def test_a_bound_needs_noise_to_be_over(vector_flow, x):
    with pytest.raises(ValueError, match="expects samples=1 for a flow without dequantize, received 4"):
        vector_flow.bits_per_dim(x, samples=4)


def test_few_bits_really_quantise(perturb, images):
    flow = perturb(glow(levels=1, n_bits=3, input_shape=(8, 8, 1)))
    coarse = images // 32 * 32
    np.testing.assert_array_equal(flow.log_prob(images), flow.log_prob(coarse))
    np.testing.assert_array_equal(flow.decode(flow.encode(images)), coarse)
    assert (flow.sample(4, seed=0) % 32 == 0).all()


# Samples and latents


@pytest.mark.parametrize("n_bits", [8, 5])
def test_decode_of_encode_is_the_image(perturb, images, n_bits):
    flow = perturb(glow(n_bits=n_bits, input_shape=(8, 8, 1)))
    z = flow.encode(images)
    assert z.shape == (16, 64)
    step = 2 ** (8 - n_bits)
    decoded = flow.decode(z, batch_size=5)
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, images // step * step)


def test_decode_of_encode_of_digits(perturb):
    flow = perturb(glow(levels=1, data_levels=17, input_shape=(8, 8, 1)))
    digits = np.random.default_rng(0).integers(0, 17, (6, 8, 8, 1), dtype="uint8")
    np.testing.assert_array_equal(flow.decode(flow.encode(digits)), digits)
    assert flow.sample(5, seed=0).max() <= 16


def test_latents_with_a_context(class_flow, images, labels):
    z = class_flow.encode(images, labels)
    np.testing.assert_array_equal(class_flow.decode(z, labels), images)
    assert (class_flow.encode(images, (labels + 1) % 3) != z).any()


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_the_density_of_samples_is_that_of_the_flow(vector_flow, context_flow, context, temperature):
    x, log_prob = vector_flow.sample_and_log_prob(30, temperature=temperature, seed=1, batch_size=7)
    assert (x.shape, log_prob.shape) == ((30, 4), (30,))
    # x is rounded on the way back, and scales down to sigmoid(1) magnify that a little.
    np.testing.assert_allclose(log_prob, vector_flow.log_prob(x), rtol=10 * PARITY, atol=10 * PARITY)
    x, log_prob = context_flow.sample_and_log_prob(3, context[:5], seed=1)
    assert (x.shape, log_prob.shape) == ((3, 5, 4), (3, 5))
    for draw in range(3):
        np.testing.assert_allclose(
            log_prob[draw], context_flow.log_prob(x[draw], context[:5]), rtol=10 * PARITY, atol=10 * PARITY
        )


def test_the_density_of_sampled_images_is_that_of_the_images(image_flow):
    x, log_prob = image_flow.sample_and_log_prob(4, seed=1)
    assert x.dtype == np.uint8
    np.testing.assert_allclose(log_prob, image_flow.log_prob(x), rtol=PARITY)


def test_samples_have_one_row_for_each_draw_and_context(image_flow, class_flow, context_flow, context):
    assert image_flow.sample(3).shape == (3, 8, 8, 1)
    assert class_flow.sample(3, context=np.array([0, 2])).shape == (3, 2, 8, 8, 1)
    assert context_flow.sample(2, context[:5]).shape == (2, 5, 4)


def test_a_context_is_paired_with_its_own_samples(context_flow, context):
    """Row j of every draw belongs to context j: at temperature 0 each is its context's mode."""
    x = context_flow.sample(2, context[:5], temperature=0.0)
    for j in range(5):
        alone = context_flow.sample(1, context[j : j + 1], temperature=0.0)
        for draw in range(2):
            np.testing.assert_allclose(x[draw, j], alone[0, 0], rtol=10 * PARITY, atol=10 * PARITY)


def test_temperature_0_gives_the_mode_of_the_latents(image_flow, vector_flow):
    samples = image_flow.sample(3, temperature=0.0)
    np.testing.assert_array_equal(samples, image_flow.decode(np.zeros((3, 64), "float32")))
    samples = vector_flow.sample(500, temperature=0.1, seed=0), vector_flow.sample(500, seed=0)
    assert samples[0].std() < samples[1].std()


def test_the_same_seed_gives_the_same_samples_whatever_the_batch_size(vector_flow):
    one = vector_flow.sample(20, seed=3)
    np.testing.assert_array_equal(one, vector_flow.sample(20, seed=3))
    for size in (1, 7):
        other = vector_flow.sample(20, seed=3, batch_size=size)
        np.testing.assert_allclose(one, other, rtol=PARITY, atol=PARITY)
    assert (one != vector_flow.sample(20, seed=4)).any()


def test_without_a_seed_each_call_draws_anew(vector_flow):
    assert (vector_flow.sample(5) != vector_flow.sample(5)).any()


def test_samples_follow_the_density():
    """Under z = x + 1 samples are normal around -1."""
    flow = Flow(Shift(1.0))
    flow.build((None, 2))
    x = flow.sample(20_000, seed=0)
    bound = 5 / math.sqrt(40_000)  # 5 standard errors
    assert abs(x.mean() + 1) < bound
    assert abs(x.std() - 1) < bound


def test_no_sample_and_no_row_is_not_an_error(vector_flow, context_flow, image_flow, x, context):
    assert image_flow.sample(0).shape == (0, 8, 8, 1)
    assert vector_flow.log_prob(x[:0]).shape == (0,)
    assert vector_flow.sample(0).shape == (0, 4)
    assert context_flow.sample(0, context[:5]).shape == (0, 5, 4)


def test_an_own_base_is_used(x):
    class Wide(Normal):
        def log_prob(self, z, context=None):
            return super().log_prob(z / 2) - z.shape[-1] * math.log(2)

    flow = Flow(Shift(0.0), Wide())
    expected = -0.5 * ((x / 2) ** 2 + np.log(2 * np.pi)).sum(1) - 4 * np.log(2)
    np.testing.assert_allclose(flow.log_prob(x), expected, rtol=PARITY)


def test_a_base_has_its_weights_when_the_flow_is_built():
    class Scaled(Normal):
        def build(self, z_shape):
            self.log_scale = self.add_weight(shape=z_shape[1:], initializer="zeros", name="log_scale")

        def log_prob(self, z, context=None):
            moved = z * ops.exp(-ops.convert_to_tensor(self.log_scale))
            return super().log_prob(moved) - ops.sum(self.log_scale)

    flow = Flow(Squeeze(), Scaled())
    flow.build((None, 4, 4, 3))
    assert [tuple(w.shape) for w in flow.base.weights] == [(2, 2, 12)]


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


def test_a_base_may_depend_on_the_context(x, context):
    class Moved(Normal):
        context = "required"

        def log_prob(self, z, context=None):
            return super().log_prob(z - context)

        def sample(self, shape, *, context=None, **options):
            return super().sample(shape, **options) + context

    flow = Flow(Shift(0.0), Moved())
    np.testing.assert_allclose(
        flow.log_prob(x[:, :2], context), Flow(Shift(0.0)).log_prob(x[:, :2] - context), rtol=PARITY
    )
    np.testing.assert_allclose(flow.sample(1, context, temperature=0.0)[0], context, rtol=PARITY)
    with pytest.raises(ContractError, match="received none"):
        flow.log_prob(x[:, :2])


# Gradients and memory


def test_scoring_keeps_no_gradients_and_leaves_torchs_switch_alone(run_python):
    """On torch an eager call keeps its graph; methods must not, nor turn gradients off for others."""
    source = """
        import numpy as np, torch, flowkit
        from flowkit.bijectors import Chain, Conv1x1, Shift
        flow = flowkit.Flow(Chain([Shift(), Conv1x1()]))
        x = np.ones((6, 4), "float32")
        made = []
        original = torch.Tensor.numpy
        for on in (True, False):
            torch.set_grad_enabled(on)
            results = [flow.log_prob(x), flow.sample(3), flow.encode(x), flow.decode(x)]
            results += flow.sample_and_log_prob(2)
            assert all(isinstance(result, np.ndarray) for result in results)
            assert torch.is_grad_enabled() == on
        torch.set_grad_enabled(True)
        log_prob = flow(x)
        assert log_prob.requires_grad
        z = flow._run(lambda t: flow.bijector(t)[0], x)
        assert not z.requires_grad
        print("ok")
    """
    assert run_python(source, engine="torch", hidden=["tensorflow"]) == "ok"


# What it refuses


def one_line(error):
    assert "\n" not in str(error)
    assert len(str(error)) < 400
    return str(error)


@pytest.mark.parametrize("call", ["log_prob", "encode", "bits_per_dim", "adapt", "fit"])
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros((4, 64), "uint8"), "expected rank 4"),
        (
            np.zeros((4, 7, 8, 1), "uint8"),
            "axis 1 to be a multiple of 2, received 7|which its weights were made for",
        ),
        (np.full((4, 8, 8, 1), np.nan), "received 256 NaN or infinite values"),
        (np.full((4, 8, 8, 1), 0.5), "expected whole numbers in 0..255"),
        (np.full((4, 8, 8, 1), 300), "received values from 300 to 300"),
        (np.zeros((4, 8, 8, 3), "uint8"), r"event of shape \(8, 8, 1\)"),
    ],
)
def test_bad_images(image_flow, call, bad, message):
    image_flow.compile()
    with pytest.raises(ValueError, match=message) as caught:
        getattr(image_flow, call)(bad)
    one_line(caught.value)


@pytest.mark.parametrize("call", ["log_prob", "encode", "adapt", "fit"])
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.full((4, 4), np.nan), "received 16 NaN or infinite entries of 16"),
        (np.full((4, 4), np.inf), "received 16 NaN or infinite entries of 16"),
        (np.zeros((4, 5)), "which its weights were made for"),
        (np.zeros(4), "event of rank at least 1"),
    ],
)
def test_bad_numbers(vector_flow, call, bad, message):
    vector_flow.compile()
    with pytest.raises(ValueError, match=message) as caught:
        getattr(vector_flow, call)(bad)
    one_line(caught.value)


@pytest.mark.parametrize("call", ["log_prob", "encode", "adapt", "fit"])
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            np.arange(16) % 4,
            r"labels \(batch,\) in 0\.\.2, received int64 of shape \(16,\) with values 0\.\.3",
        ),
        (np.arange(16) % 3 - 1, r"values -1\.\.1"),
        (np.zeros(16), "received float64 of shape"),
        (np.zeros((16, 3), "int64"), r"of shape \(16, 3\)"),
        (np.zeros(5, "int64"), "one row for each of 16 samples, received 5 rows"),
        (None, "broke 'context'.*received none"),
    ],
)
def test_bad_labels(class_flow, call, images, labels, message):
    class_flow.compile()
    with pytest.raises(ContractError, match=message) as caught:
        getattr(class_flow, call)(images, context=labels)
    one_line(caught.value)


def test_bad_labels_when_sampling(class_flow):
    for labels in (np.array([3]), None):
        with pytest.raises(ContractError, match="broke 'context'"):
            class_flow.sample(2, context=labels)


def test_a_context_of_the_wrong_width_names_both(context_flow, x):
    with pytest.raises(ContractError, match=r"vectors \(batch, 2\).*received shape \(20, 3\)"):
        context_flow.log_prob(x, np.zeros((20, 3), "float32"))


def test_a_context_that_is_no_table_of_numbers(context_flow, x, context):
    for bad, message in (
        (np.full((20, 2), np.nan, "float32"), "expected finite numbers"),
        (np.float32(1), "batch first, received a single number"),
        ({"a": context, "b": context[:3]}, "one row for each of 20 samples, received 3 and 20 rows"),
    ):
        with pytest.raises(ContractError, match=message) as caught:
            context_flow.log_prob(x, bad)
        one_line(caught.value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda flow, x: flow.sample(-1), "n: expected a whole number from 0 up, received -1"),
        (lambda flow, x: flow.sample(2.0), "n: expected a whole number from 0 up, received 2.0"),
        (lambda flow, x: flow.log_prob(x, batch_size=0), "batch_size: expected a whole number from 1 up"),
        (lambda flow, x: flow.bits_per_dim(x, samples=0), "samples: expected a whole number from 1 up"),
    ],
)
def test_counts_that_are_none(vector_flow, x, call, message):
    with pytest.raises(ValueError, match=message):
        call(vector_flow, x)


@pytest.mark.parametrize(
    "call",
    [
        lambda flow: flow.sample(2),
        lambda flow: flow.sample_and_log_prob(2),
        lambda flow: flow.decode(np.zeros((2, 64), "float32")),
        lambda flow: flow.log_prob(np.zeros((2, 8, 8, 1), "uint8")),
        lambda flow: flow.encode(np.zeros((2, 8, 8, 1), "uint8")),
    ],
)
@pytest.mark.parametrize("built", [True, False])
def test_before_it_is_adapted(call, built):
    flow = glow(input_shape=(8, 8, 1) if built else None)
    with pytest.raises(ContractError) as caught:
        call(flow)
    message = one_line(caught.value)
    assert "adapt(first_batch)" in message or ".adapt(batch)" in message


def test_images_that_cannot_be_halved_leave_the_flow_as_it_was():
    flow = glow(levels=3)
    with pytest.raises(ContractError, match="Use at most 2 levels") as caught:
        flow.adapt(np.zeros((4, 4, 4, 3), "uint8"))
    one_line(caught.value)
    assert not flow.built
    flow.build((None, 8, 8, 1))
    assert flow.event_shape == (8, 8, 1)


def test_latents_of_the_wrong_length(image_flow):
    with pytest.raises(ContractError, match=r"flat latents \(batch, 64\), received shape \(2, 63\)"):
        image_flow.decode(np.zeros((2, 63), "float32"))


def test_the_public_names_are_there():
    assert flowkit.Flow is Flow
    assert flowkit.zoo.glow is zoo.glow


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


def test_networks_in_float16_need_their_loss_scaled():
    flow = Flow(Chain([ActNorm(), Coupling(MLP([8], dtype="mixed_float16"))]))
    flow.compile("adam")
    x = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
    with pytest.raises(ValueError, match="LossScaleOptimizer"):
        flow.fit(x, verbose=0)
    flow.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam()))
    flow.fit(x, epochs=2, verbose=0)
    assert np.isfinite(flow.log_prob(x)).all()


def test_metrics_count_weights():
    x = np.random.default_rng(0).normal(size=(4, 2)).astype("float32")
    flow = Flow(Shift())
    flow.build((None, 2))
    flow.compile("adam")
    weights = np.array([1.0, 0.0, 3.0, 0.0], "float32")
    nll = flow.evaluate(x, sample_weight=weights, batch_size=4, verbose=0, return_dict=True)["nll"]
    np.testing.assert_allclose(nll, np.average(-flow.log_prob(x), weights=weights), rtol=1e-5)


def test_a_layer_in_two_places_is_refused():
    network = MLP([8])
    with pytest.raises(ValueError, match="a layer of its own in each"):
        Flow(Chain([Coupling(network), Permute(), Coupling(network)]))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "a numpy array, a tensor or a data set"),
        ([[1.0, 2.0]], "received list"),
        ({"images": np.zeros((2, 2))}, "received the keys .'images'."),
    ],
)
def test_what_is_no_data_is_refused(data, message):
    flow = vectors()
    flow.compile("adam")
    with pytest.raises(ValueError, match=message):
        flow.fit(data)


def test_batches_without_the_context_say_how_it_is_given():
    flow = vectors(context="required")
    flow.compile("adam")
    with pytest.raises(ContractError, match=r"yields it as \(\{'x': ..., 'context': ...\},\)"):
        flow.fit([(np.zeros((2, 4), "float32"), np.zeros((2, 2), "float32"))].__iter__())


@pytest.mark.skipif(backends.name() != "tensorflow", reason="only TensorFlow adds up what replicas give")
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
