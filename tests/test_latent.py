"""Ways through the space of latents: the answers that are known, the ends that are exact, and what is refused."""

import math

import numpy as np
import pytest

from flowkit import Flow, latent, zoo
from flowkit.bijectors import Chain, Exp, Inverse, MultiScale, Scale, Squeeze

EPSILON = np.finfo("float32").eps


@pytest.fixture(scope="module")
def image_flow(perturb):
    return perturb(zoo.glow(levels=2, steps=1, width=4, input_shape=(8, 8, 1)))


@pytest.fixture(scope="module")
def class_flow(perturb):
    return perturb(zoo.glow(levels=2, steps=1, width=4, num_classes=3, input_shape=(8, 8, 1)), scale=0.2)


@pytest.fixture(scope="module")
def doubling():
    """z = 2 x on two levels: latents by hand."""
    flow = Flow(MultiScale([Chain([Squeeze(), Scale(math.log(2))]), Squeeze()]))
    flow.build((None, 4, 4, 1))
    return flow


def numbers(count=6, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 4, 4, 1)).astype("float32")


# From one to another


def test_the_middle_in_logarithms_is_the_geometric_mean():
    flow = Flow(Inverse(Exp()))
    x0, x1 = np.random.default_rng(0).uniform(1, 9, (2, 5, 3)).astype("float32")
    path = latent.interpolate(flow, x0, x1, 3)
    assert path.shape == (3, 5, 3)
    np.testing.assert_allclose(path[1], np.sqrt(x0 * x1), rtol=8 * EPSILON)


@pytest.mark.parametrize("path", ["linear", "spherical"])
def test_both_ends_are_the_images_themselves(image_flow, images, path):
    strip = latent.interpolate(image_flow, images[:3], images[3:6], 4, path=path)
    assert strip.shape == (4, 3, 8, 8, 1)
    assert strip.dtype == np.uint8
    np.testing.assert_array_equal(strip[0], images[:3])
    np.testing.assert_array_equal(strip[-1], images[3:6])
    assert (strip[1] != strip[0]).any()


def test_one_event_needs_no_batch_axis(image_flow, images):
    strip = latent.interpolate(image_flow, images[0], images[1], 3)
    np.testing.assert_array_equal(strip, latent.interpolate(image_flow, images[:1], images[1:2], 3)[:, 0])
    direction = np.ones(64, "float32")
    moved = latent.manipulate(image_flow, images[0], direction, [0, 1])
    np.testing.assert_array_equal(moved, latent.manipulate(image_flow, images[:1], direction, [0, 1])[:, 0])
    assert latent.resample(image_flow, images[0], 0, seed=0).shape == (8, 8, 1)


def test_a_context_is_held_on_the_way(class_flow, images, labels):
    x0, x1 = images[:3], images[3:6]
    strip = latent.interpolate(class_flow, x0, x1, 3, context=labels[:3])
    z = (class_flow.encode(x0, labels[:3]) + class_flow.encode(x1, labels[:3])) / 2
    np.testing.assert_array_equal(strip[1], class_flow.decode(z, labels[:3]))
    # A class moves and scales the last latents, which commutes with the line between them, not with the arc.
    arcs = [
        latent.interpolate(class_flow, x0, x1, 3, context=labels[k : k + 3], path="spherical") for k in (0, 1)
    ]
    assert (arcs[0][1] != arcs[1][1]).any()


# Arcs


def test_of_unit_vectors_it_is_shoemakes_formula():
    z = np.random.default_rng(0).normal(size=(2, 7, 12))
    z0, z1 = z / np.linalg.norm(z, axis=2, keepdims=True)
    angle = np.arccos((z0 * z1).sum(axis=1, keepdims=True))
    t = np.linspace(0, 1, 5)[:, None, None]
    expected = (np.sin((1 - t) * angle) * z0 + np.sin(t * angle) * z1) / np.sin(angle)
    np.testing.assert_allclose(latent.slerp(z0, z1, 5), expected, atol=32 * np.finfo("float64").eps)


def test_the_length_goes_linearly_and_the_ends_are_exact():
    z0, z1 = np.random.default_rng(0).normal(size=(2, 7, 4, 4, 1)).astype("float32")
    z1 *= 5
    path = latent.slerp(z0, z1, 6)
    assert path.dtype == np.float32
    np.testing.assert_array_equal(path[0], z0)
    np.testing.assert_array_equal(path[-1], z1)
    lengths = np.linalg.norm(path.reshape(6, 7, -1), axis=2)
    np.testing.assert_allclose(lengths, np.linspace(lengths[0], lengths[-1], 6), rtol=8 * EPSILON)


@pytest.mark.parametrize("scale", [3.0, 0.0, -1.0])
def test_parallel_and_opposite_and_zero_vectors_are_joined_by_the_line(scale):
    z0 = np.random.default_rng(0).normal(size=(4, 9))
    t = np.linspace(0, 1, 5)[:, None, None]
    for a, b in ((z0, scale * z0), (scale * z0, z0)):
        expected = (1 - t) * a + t * b
        np.testing.assert_allclose(latent.slerp(a, b, 5), expected, atol=16 * np.finfo("float64").eps)


# Along an attribute


def test_a_direction_is_the_difference_of_the_means(doubling):
    x = numbers()
    has = np.array([1, 0, 0, 1, 1, 0])
    direction = latent.attribute_direction(doubling, x, has)
    z = doubling.encode(x)
    expected = z[has == 1].mean(0) - z[has == 0].mean(0)
    assert direction.shape == (16,)
    np.testing.assert_allclose(direction, expected, atol=8 * EPSILON)
    # The amount 1 carries the mean of those without to the mean of those with.
    moved = latent.manipulate(doubling, x[has == 0], direction, [0, 1, -0.5])
    np.testing.assert_array_equal(moved[0], x[has == 0])
    np.testing.assert_allclose(moved[1].mean(0), x[has == 1].mean(0), atol=8 * EPSILON)
    np.testing.assert_allclose(moved[2] - moved[0], (moved[0] - moved[1]) / 2, atol=8 * EPSILON)


def test_a_direction_with_a_context(class_flow, images, labels):
    has, z = np.arange(16) < 5, class_flow.encode(images, labels)
    direction = latent.attribute_direction(class_flow, images, has, context=labels)
    np.testing.assert_allclose(direction, z[has].mean(0) - z[~has].mean(0), atol=1e-5)
    moved = latent.manipulate(class_flow, images, direction, [0, 1], context=labels)
    expected = [class_flow.decode(z + amount * direction, labels) for amount in (0, 1)]
    np.testing.assert_array_equal(moved, expected)


# Levels drawn anew


@pytest.mark.parametrize("level", [0, 1, -1])
def test_only_the_chosen_level_is_drawn_anew(doubling, level):
    x = numbers()
    before, after = (doubling.encode(y) for y in (x, latent.resample(doubling, x, level, seed=1)))
    chosen = np.zeros(16, bool)
    chosen[slice(8, 16) if level else slice(0, 8)] = True
    np.testing.assert_array_equal(after[:, ~chosen], before[:, ~chosen])
    assert (after[:, chosen] != before[:, chosen]).all()
    np.testing.assert_array_equal(
        latent.resample(doubling, x, level, seed=1), latent.resample(doubling, x, [level], seed=1)
    )


def test_temperature_0_gives_the_mode_and_no_level_changes_nothing(doubling, image_flow, images):
    z = doubling.encode(latent.resample(doubling, numbers(), [0, 1], temperature=[0, 0.5]))
    assert (z[:, :8] == 0).all()
    assert (z[:, 8:] != 0).all()
    np.testing.assert_array_equal(latent.resample(image_flow, images, []), images)


def test_all_levels_drawn_anew_are_a_sample(class_flow, images, labels):
    drawn = latent.resample(class_flow, images[:3], [0, 1], temperature=0.5, seed=3, context=labels[:3])
    np.testing.assert_array_equal(drawn, class_flow.sample(1, labels[:3], temperature=0.5, seed=3)[0])


# What is refused


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f, x: latent.interpolate(f, x, x, 1), "steps: got 1, expected a whole number from 2 up"),
        (
            lambda f, x: latent.interpolate(f, x, x, 3, path="round"),
            "path: got 'round', expected one of 'linear', 'spherical'",
        ),
        (
            lambda f, x: latent.interpolate(f, x, x[:2], 3),
            r"got shapes \(6, 4, 4, 1\) and .*, expected ends of one shape",
        ),
        (
            lambda f, x: latent.attribute_direction(f, x, [True] * 5),
            r"got bool of shape .*, expected a truth value for each of 6 events",
        ),
        (
            lambda f, x: latent.attribute_direction(f, x, [True] * 6),
            "got 6 of 6 events with the attribute, expected",
        ),
        (
            lambda f, x: latent.manipulate(f, x, np.ones(15), [1]),
            r"got shape \(15,\), expected that of one latent event, \(16,\)",
        ),
        (
            lambda f, x: latent.manipulate(f, x, np.ones(16), [np.inf]),
            r"got \[inf\], expected a list of finite numbers",
        ),
        (lambda f, x: latent.resample(f, x, 2), r"got \[2\], expected whole numbers in 0\.\.1"),
    ],
)
def test_bad_input_is_one_line(doubling, call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call(doubling, numbers())
    assert "\n" not in str(caught.value)
