"""Data, latents and contexts that are no arrays of numbers, each in one line."""

import keras
import numpy as np
import pytest
from small_flows import one_line

ROWS = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
WRONG = {
    "masked": np.ma.masked_greater(ROWS, 0.0),
    "complex": ROWS.astype("complex64"),
    "text": ROWS.astype(str),
    "dates": np.full((3, 4), "2024-01-01", "datetime64[s]"),
    "durations": np.full((3, 4), 3, "timedelta64[s]"),
    "none": None,
    "ragged": [[1.0, 2.0, 3.0, 4.0], [1.0]],
    "a word": "abcd",
    "symbolic": keras.KerasTensor((3, 4)),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("call", ["log_prob", "encode", "decode", "round_trip_error", "adapt"])
def test_it_is_refused_where_it_enters(vector_flow, call, name):
    if call == "adapt" and name == "none":
        pytest.skip("adapt() without data is another call")
    with pytest.raises(ValueError, match=r"expected (data|latents) as an array of numbers") as error:
        getattr(vector_flow, call)(WRONG[name])
    one_line(error.value)


@pytest.mark.parametrize("name", ["masked", "complex", "text", "dates"])
def test_a_context_too(context_flow, name):
    with pytest.raises(ValueError, match="expected context as an array of numbers"):
        context_flow.log_prob(ROWS, WRONG[name][:, :2])
    with pytest.raises(ValueError, match="expected context as an array of numbers"):
        context_flow.sample(2, WRONG[name][:, :2])


@pytest.mark.parametrize("name", ["masked", "complex", "text", "dates"])
def test_images_too(image_flow, name):
    images = WRONG[name][:1].repeat(16).reshape(1, 8, 8, 1)
    with pytest.raises(ValueError, match="expected data as an array of numbers"):
        image_flow.log_prob(images)


def test_fit_and_evaluate_too(vector_flow):
    vector_flow.compile("adam")
    for call in (vector_flow.fit, vector_flow.evaluate, vector_flow.train_on_batch):
        with pytest.raises(ValueError, match="masked array"):
            call(WRONG["masked"])


def test_numbers_in_other_types_are_taken(vector_flow):
    expected = vector_flow.log_prob(ROWS)
    unmasked = np.ma.masked_greater(ROWS, 100.0)
    for same in (ROWS.tolist(), ROWS.astype(object), ROWS.astype("float64"), unmasked):
        np.testing.assert_allclose(vector_flow.log_prob(same), expected, rtol=1e-6)
    half = keras.ops.convert_to_tensor(ROWS, dtype="bfloat16")
    np.testing.assert_allclose(vector_flow.log_prob(half), expected, rtol=0.1)
    assert vector_flow.log_prob(np.ones((2, 4), bool)).shape == (2,)
