"""`log_prob` and `bits_per_dim`: by hand, in any batches, with gradients, and for images as stored."""

import math

import numpy as np
import pytest
from keras import ops
from small_flows import Cube, glow
from tolerance import PARITY

from flowkit import Flow, zoo
from flowkit.bijectors import Chain, Conv1x1, Scale, Shift
from flowkit.data.dequantize import Dequantize
from flowkit.engines import engine
from flowkit.flow.rows import run_without_gradients


def test_log_prob_by_hand():
    """Two numbers that are shifted by 1 and scored by a standard normal."""
    x = np.array([[0.0, -1.0], [2.0, 0.5]], "float32")
    flow = Flow(Shift(1.0))
    expected = -0.5 * ((x + 1) ** 2 + np.log(2 * np.pi)).sum(axis=1)
    log_prob = flow.log_prob(x)
    assert isinstance(log_prob, np.ndarray)
    np.testing.assert_allclose(log_prob, expected, rtol=4 * np.finfo("float32").eps)
    np.testing.assert_allclose(flow.bits_per_dim(x), -expected / (2 * np.log(2)), rtol=PARITY)


@pytest.mark.parametrize("family", [zoo.maf, zoo.sos, zoo.nice], ids=["maf", "sos", "nice"])
def test_the_density_of_a_row_that_overflows_is_zero(family):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 3)).astype("float32")
    flow = family(features=3, layers=3, hidden=[8]).adapt(x)
    for weight in flow.trainable_variables:
        weight.assign(ops.convert_to_numpy(weight) + 0.3 * rng.normal(size=weight.shape))
    far = np.zeros((6, 3), "float32")
    far[:, 1] = [0, 300, 1e5, 1e18, 3e38, -3e38]
    log_prob = flow.log_prob(far)
    assert np.isfinite(log_prob[0])
    assert not np.isnan(log_prob).any()
    assert (log_prob[-2:] == -np.inf).all()
    assert (flow.bits_per_dim(far)[-1:] > 1e3).all()
    flow.trainable_variables[0].assign(np.full(flow.trainable_variables[0].shape, np.nan))
    assert np.isnan(flow.log_prob(far)).any()  # that is no overflow


def test_the_call_is_log_prob_and_carries_gradients(vector_flow, x):
    np.testing.assert_allclose(
        ops.convert_to_numpy(ops.stop_gradient(vector_flow(x))), vector_flow.log_prob(x), rtol=PARITY
    )
    value, (gradient,) = engine.gradients(lambda t: ops.sum(vector_flow(t[0])), [x])
    gradient = ops.convert_to_numpy(gradient)
    # d log p / d x along one random direction, against a central difference in float32.
    direction = np.random.default_rng(0).normal(size=x.shape).astype("float32")
    step = 1e-2
    ends = [vector_flow.log_prob(x + sign * step * direction).astype("float64").sum() for sign in (1, -1)]
    difference = (ends[0] - ends[1]) / (2 * step)
    # Truncation ~ step^2, rounding ~ |value| eps / step.
    bound = 10 * step**2 * abs(difference) + 64 * abs(float(value)) * np.finfo("float32").eps / step
    assert abs((gradient * direction).sum() - difference) <= bound


@pytest.mark.two_engines
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


def test_a_label_that_is_no_class_gives_nan_on_every_engine(class_flow, images):
    """Where nothing can look: in a later batch of a data set."""
    inputs = {"x": images.astype("float32"), "context": np.array([0, 1, 2, 3] * 4)}
    log_prob = ops.convert_to_numpy(class_flow(inputs))
    np.testing.assert_array_equal(np.isfinite(log_prob), inputs["context"] < 3)


@pytest.mark.wide
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


@pytest.mark.one_engine
def test_the_importance_weighted_bound_is_tighter():
    """Under a narrow base a pixel's probability depends much on the noise, so the bounds are far apart."""
    flow = Flow(Scale(math.log(8)), dequantize=Dequantize(n_bits=1))
    x = np.full((50, 2, 2, 1), 200, "uint8")
    bits = [flow.bits_per_dim(x, samples=samples).mean() for samples in (1, 10, 1000)]
    # By hand: a pixel of level 1 has the mass of 8 y, standard normal, for y in [0, 1/2).
    exact = -math.log2(math.erf(4 / math.sqrt(2)) / 2)
    assert bits[0] > bits[1] > bits[2] > exact - 0.05
    assert abs(bits[2] - exact) < 0.05


@pytest.mark.two_engines
def test_few_bits_really_quantise(perturb, images):
    flow = perturb(glow(levels=1, n_bits=3, input_shape=(8, 8, 1)))
    coarse = images // 32 * 32
    np.testing.assert_array_equal(flow.log_prob(images), flow.log_prob(coarse))
    np.testing.assert_array_equal(flow.decode(flow.encode(images)), coarse)
    assert (flow.sample(4, seed=0) % 32 == 0).all()


@pytest.mark.one_engine
@pytest.mark.skipif(engine.name != "torch", reason="an eager call of PyTorch's keeps its graph")
def test_scoring_keeps_no_gradients_and_leaves_torchs_switch_alone(vector_flow, x):
    import torch

    for on in (True, False):
        with torch.set_grad_enabled(on):
            results = [vector_flow.log_prob(x), vector_flow.sample(3), vector_flow.encode(x)]
            results += [vector_flow.decode(x), *vector_flow.sample_and_log_prob(2)]
            assert all(isinstance(result, np.ndarray) for result in results)
            assert torch.is_grad_enabled() == on
    assert vector_flow(x).requires_grad
    assert not run_without_gradients(vector_flow, vector_flow._to_latents, x, None).requires_grad


def test_log_prob_of_several_draws_is_that_of_bits_per_dim(image_flow, images):
    bits = image_flow.bits_per_dim(images, samples=4, seed=1)
    log_prob = image_flow.log_prob(images, samples=4, seed=1)
    assert log_prob.dtype == "float32"
    np.testing.assert_allclose(-log_prob / (64 * math.log(2)), bits, rtol=1e-6)
    assert (log_prob > image_flow.log_prob(images, seed=1) - 1e-3).mean() > 0.5


@pytest.mark.every_engine
def test_images_in_float64():
    flow = Flow(Scale(0.0, dtype="float64"), dequantize=Dequantize(), dtype="float64")
    images = np.full((3, 2, 2, 1), 255, "uint8")
    flow.adapt(images)
    assert flow.log_prob(images).dtype == "float64"
    np.testing.assert_allclose(flow.encode(images), 255.5 / 256 - 0.5)
