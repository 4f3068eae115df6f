"""What counts as images and labels, and the errors for everything else."""

import keras
import numpy as np
import pytest

from flowkit.data import validate_images, validate_labels

pytestmark = pytest.mark.one_engine


def test_uint8_images_pass_through_uncopied():
    x = np.zeros((2, 4, 4, 3), np.uint8)
    assert validate_images(x) is x


@pytest.mark.parametrize(
    "x",
    [
        np.full((2, 4, 5), 255, np.int64),
        np.full((2, 4, 5, 1), 255.0, np.float32),
        np.full((2, 4, 5, 1), 255, np.uint16),
        [[[255] * 5] * 4] * 2,
    ],
    ids=["rank 3", "whole floats", "uint16", "list"],
)
def test_what_can_be_uint8_becomes_uint8(x):
    images = validate_images(x)
    assert images.dtype == np.uint8
    assert images.shape == (2, 4, 5, 1)
    assert (images == 255).all()


def test_tensors_of_the_engine_are_arrays_too():
    assert validate_images(keras.ops.ones((2, 4, 4, 1))).dtype == np.uint8


BAD = {
    "rank 2": (np.zeros((5, 784)), r"x\.reshape"),
    "one image": (np.zeros((32, 32, 3)), r"x\[None\]"),
    "channels first": (np.zeros((2, 3, 32, 32)), "moveaxis"),
    "no images": (np.zeros((0, 4, 4, 1)), "at least one image"),
    "NaN": (np.full((1, 4, 4, 1), np.nan), "NaN or infinite"),
    "negative": (np.full((1, 4, 4, 1), -1), "from -1 to -1"),
    "above 255 in floats": (np.full((1, 4, 4, 1), 256.0), "from 256 to 256"),
    "0..1": (np.linspace(0, 1, 16).reshape(1, 4, 4, 1), r"\(x \* 255\)\.round\(\)"),
    "-1..1": (np.linspace(-1, 1, 16).reshape(1, 4, 4, 1), r"\(x \+ 1\) / 2 \* 255"),
    "overshot": (np.linspace(-61.5, 299, 16).reshape(1, 4, 4, 1), r"clip\(0, 255\)"),
    "text": (np.full((1, 4, 4, 1), "a"), "dtype"),
}


@pytest.mark.parametrize(("x", "message"), BAD.values(), ids=BAD)
def test_anything_else_raises_one_line_with_what_to_do(x, message):
    with pytest.raises(ValueError, match=message) as caught:
        validate_images(x)
    text = str(caught.value)
    assert text.startswith("images: got")
    assert ", expected " in text
    assert "\n" not in text


def test_four_channels_may_be_last_though_images_have_3_rows():
    """More than 4 last are taken for a width; with 4, colour and transparency, the shape is what it says."""
    images = np.zeros((2, 3, 32, 4), np.uint8)
    assert validate_images(images) is images


def test_levels_bound_the_values():
    digits = np.full((1, 8, 8, 1), 16, np.uint8)
    assert validate_images(digits, levels=17) is digits
    with pytest.raises(ValueError, match=r"got values from 16 to 16, expected whole numbers in 0\.\.15"):
        validate_images(digits, levels=16)
    with pytest.raises(ValueError, match="from 2 to 256"):
        validate_images(digits, levels=65536)


def test_labels_become_int64():
    for labels in ([0, 1, 2], [[0], [1], [2]], np.array([0, 1, 2.0]), np.arange(3, dtype=np.uint8)):
        found = validate_labels(labels, 3)
        assert found.dtype == np.int64
        assert found.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1], "got 2, expected one per image, 3 in all"),
        (np.eye(3), r"argmax\(1\)"),
        ([0.5, 1, 2], "whole numbers"),
        (["a", "b", "c"], "np.unique"),
    ],
)
def test_bad_labels_raise(labels, message):
    with pytest.raises(ValueError, match=message):
        validate_labels(labels, 3)
