"""ActNorm: its statistics as published, and that it is honest about having none."""

import keras
import numpy as np
import pytest
from arrays import f64

from flowkit.bijectors import ActNorm
from flowkit.contract import ContractError

EPSILON = np.finfo("float32").eps


@pytest.fixture
def x():
    rng = np.random.default_rng(0)
    return (rng.normal(size=(16, 4, 4, 3)) * [0.5, 2, 7] + [3, -5, 0]).astype("float32")


def test_the_weights_are_the_published_statistics(x):
    layer = ActNorm().adapt(x)
    x = x.astype("float64")
    mean, deviation = x.mean((0, 1, 2)), x.std((0, 1, 2))  # numpy's std is the biased one, as published
    # Sums of 256 numbers: pairwise or not, at most 256 roundings of the largest.
    atol = 256 * EPSILON * np.abs(x).max()
    np.testing.assert_allclose(f64(layer.shift), -mean, atol=atol)
    np.testing.assert_allclose(f64(layer.logs), -np.log(deviation + 1e-6) / 3, atol=atol)


def test_the_batch_leaves_with_mean_0_and_variance_1(x):
    z = f64(ActNorm().adapt(x)(x)[0])
    np.testing.assert_allclose(z.mean((0, 1, 2)), 0, atol=256 * EPSILON * np.abs(x).max())
    # 1e-6 is added to each deviation, the smallest of which is about 0.5.
    np.testing.assert_allclose(z.std((0, 1, 2)), 1, atol=1e-6 / 0.4 + 256 * EPSILON)


@pytest.mark.parametrize("factor", [1.0, 3.0])
def test_the_value_and_the_log_det_by_hand(x, factor):
    layer = ActNorm(factor)
    layer.build(x.shape)
    layer.shift.assign([1.0, 2.0, 3.0])
    layer.logs.assign([0.1, -0.2, 0.3])
    layer.flag.assign(True)
    z, log_det = layer(x)
    expected = (x.astype("float64") + np.arange(1, 4)) * np.exp(factor * np.array([0.1, -0.2, 0.3]))
    np.testing.assert_allclose(f64(z), expected, rtol=16 * EPSILON, atol=16 * EPSILON * np.abs(x).max())
    np.testing.assert_allclose(f64(log_det), [16 * factor * 0.2] * 16, rtol=16 * EPSILON)


def test_a_channel_that_never_varies_stays_finite():
    x = np.zeros((8, 3), "float32") + np.float32([1, 2, 3])
    layer = ActNorm().adapt(x)
    np.testing.assert_allclose(f64(layer(x)[0]), 0, atol=1e6 * 8 * 3 * EPSILON)  # scaled by 1 / 1e-6
    back, _ = layer.inverse(np.ones((8, 3), "float32"))
    assert np.isfinite(f64(back)).all()


@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_it_refuses_to_work_before_it_has_seen_data(direction, x):
    layer = ActNorm(name="mine")
    with pytest.raises(ContractError, match=r"ActNorm 'mine' broke 'adapted'"):
        layer(x) if direction == "forward" else layer.inverse(x)


def test_a_call_never_adapts(x):
    layer = ActNorm().adapt(x)
    before = [f64(w) for w in layer.weights]
    layer(x * 10)
    layer.inverse(x * 10)
    for old, new in zip(before, layer.weights, strict=True):
        np.testing.assert_array_equal(old, f64(new))


def test_the_flag_is_saved_and_not_trained(x, tmp_path):
    inputs = keras.Input(x.shape[1:])
    layer = ActNorm()
    model = keras.Model(inputs, layer(inputs))
    for adapted in (False, True):
        if adapted:
            layer.adapt(x)
        model.save(tmp_path / "m.keras")
        again = keras.saving.load_model(tmp_path / "m.keras").layers[-1]
        assert again.adapted == adapted
        assert [w.name for w in again.trainable_weights] == ["shift", "logs"]
        for one, other in zip(layer.weights, again.weights, strict=True):
            np.testing.assert_array_equal(f64(one), f64(other))


def test_no_event_has_no_statistics():
    with pytest.raises(ContractError, match=r"at least one event, received shape \(0, 3\)"):
        ActNorm().adapt(np.zeros((0, 3), "float32"))


def test_channels_that_do_not_vary_are_reported():
    x = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    x[:, 1] = 5
    with pytest.warns(UserWarning, match="1 of 3 channels do not vary"):
        ActNorm().adapt(x)
