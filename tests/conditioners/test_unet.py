"""U-Nets as velocity fields: shapes, contexts, gradients by hand and by the engine, and errors."""

import numpy as np
import pytest
from arrays import array, f64, tensor
from keras import ops

from flowkit.conditioners import Field, UNet
from flowkit.conditioners.fields import normalize_groups
from flowkit.contract import ContractError
from flowkit.engines import engine

X = np.random.default_rng(0).normal(size=(3, 4, 4, 2)).astype("float32")


@pytest.mark.two_engines
def test_groups_are_normalised_then_scaled_and_shifted():
    scale, shift = X[:, 0, 0], X[:, 1, 1]
    groups = X.astype("float64").reshape(3, 16, 1, 2)
    mean, std = groups.mean(axis=(1, 3), keepdims=True), groups.std(axis=(1, 3), keepdims=True)
    wanted = ((groups - mean) / std).reshape(X.shape) * (1 + scale)[:, None, None] + shift[:, None, None]
    x, scale, shift = (tensor(part, "float32") for part in (X, scale, shift))
    found = normalize_groups(x, 1, scale, shift)
    np.testing.assert_allclose(f64(found), wanted, atol=1e-4)


@pytest.mark.two_engines
@pytest.mark.parametrize(("mean", "dtype"), [(1, "bfloat16"), (300, "float32")])
def test_groups_far_from_zero_do_not_become_nan(mean, dtype):
    x = ops.cast(tensor(mean + 0.01 * X, "float32"), dtype)
    found = normalize_groups(x, 1)
    assert found.dtype == x.dtype
    assert np.isfinite(array(ops.cast(found, "float32"))).all()


@pytest.mark.every_engine
@pytest.mark.parametrize("make", [lambda **how: UNet([4], groups=2, **how), lambda **how: Field([8], **how)])
def test_networks_in_low_precision_tell_times_apart(perturb, make):
    field = make(features=2, dtype="mixed_bfloat16")
    x = tensor(X if isinstance(field, UNet) else X[:, 0, 0], "float32")
    field.build(x.shape)
    perturb(field, scale=0.5)
    early, late = (array(ops.cast(field(x, ops.full((3,), t)), "float32")) for t in (0.9, 0.901))
    assert np.abs(early - late).max() > 0


@pytest.mark.one_engine
def test_it_reads_time_and_labels_and_does_without_them(perturb):
    field = UNet([4, 8], groups=2, features=2, context="optional", num_classes=3)
    field.build((None, 4, 4, 2), (None,))
    perturb(field, scale=0.3)
    x, t = tensor(X, "float32"), tensor([0.1, 0.5, 0.9], "float32")
    labels = tensor([0, 1, 2], "int32")
    found = [array(field(x, t)), array(field(x, 1 - t)), array(field(x, t, context=labels))]
    assert found[0].shape == X.shape
    assert np.abs(found[0] - found[1]).max() > 1e-3
    assert np.abs(found[0] - found[2]).max() > 1e-3


@pytest.mark.two_engines
def test_a_built_one_refuses_other_sides_before_their_halves_mix_samples():
    field = UNet([2, 4], groups=2, features=2)
    field.build((None, 4, 4, 2))
    with pytest.raises(ContractError, match=r"sides are multiples of 2.*received .*3"):
        field.call(tensor(np.ones((2, 3, 2, 2)), "float32"), tensor([0.1, 0.5], "float32"))


@pytest.mark.one_engine
def test_what_it_refuses():
    with pytest.raises(ValueError, match=r"hidden: got \[6, 8\], expected channels .* multiples of groups=8"):
        UNet([6, 8])
    with pytest.raises(
        ContractError, match=r"sides are multiples of 2, for 2 resolutions, received .*7.*Pass fewer"
    ):
        UNet([8, 8], features=1).build((None, 7, 8, 1))


@pytest.mark.one_engine
def test_its_gradients_are_those_of_finite_differences(perturb):
    with engine.float64():
        field = UNet([2, 4], groups=2, features=1)
        field.build((None, 2, 2, 1))
        perturb(field, scale=0.3)
        x, t = X[:, :2, :2, :1].astype("float64"), ops.full((3,), 0.3)

        def loss(given):
            return ops.sum(ops.square(field(given[0], t)))

        (grad,) = engine.gradients(loss, [ops.convert_to_tensor(x)])[1]
        step = 1e-6 * np.random.default_rng(1).normal(size=x.shape)
        change = f64(loss([ops.convert_to_tensor(x + step)])) - f64(loss([ops.convert_to_tensor(x - step)]))
        assert change == pytest.approx(2 * np.sum(f64(grad) * step), rel=1e-5)
