"""Bad images, numbers, labels, contexts and counts: each refused in one line that says what came."""

import warnings

import keras
import numpy as np
import pytest
from small_flows import glow, one_line

from flowkit import Flow
from flowkit.bijectors import Shift
from flowkit.contract import ContractError
from flowkit.engines import engine

pytestmark = pytest.mark.one_engine


ROWS = np.random.default_rng(0).normal(size=(4, 4)).astype("float32")
PIXELS, LABELS = np.zeros((16, 8, 8, 1), "uint8"), np.arange(16) % 3
AS_NUMBERS = "expected (data|latents|context) as an array of numbers"
NO_NUMBERS = {
    "masked": np.ma.masked_greater(ROWS, 0.0),
    "complex": ROWS.astype("complex64"),
    "text": ROWS.astype(str),
    "dates": np.full((4, 4), "2024-01-01", "datetime64[s]"),
    "durations": np.full((4, 4), 3, "timedelta64[s]"),
    "ragged": [[1.0, 2.0, 3.0, 4.0], [1.0]],
    "a word": "abcd",
    "symbolic": keras.KerasTensor((4, 4)),
}
NUMBERS = [
    (np.full((4, 4), np.nan), "got 16 NaN or infinite entries of 16"),
    (np.full((4, 4), np.inf), "got 16 NaN or infinite entries of 16"),
    (np.zeros((4, 5)), "which its weights were made for"),
    (np.zeros(4), "event of rank at least 1"),
    *((wrong, AS_NUMBERS + "|got list" * (name == "ragged")) for name, wrong in NO_NUMBERS.items()),
]
IMAGES = [
    (np.zeros((4, 64), "uint8"), r"got rank 2, .*expected \(n, height, width, channels\)"),
    (
        np.zeros((4, 7, 8, 1), "uint8"),
        "axis 1 to be a multiple of 2, received 7|which its weights were made for",
    ),
    (np.full((4, 8, 8, 1), np.nan), "got NaN or infinite values"),
    (np.full((4, 8, 8, 1), 0.5), r"expected whole numbers in 0\.\.255"),
    (np.full((4, 8, 8, 1), 300), "got values from 300 to 300"),
    (np.zeros((4, 8, 8, 3), "uint8"), r"event of shape \(8, 8, 1\)"),
    (NO_NUMBERS["text"].repeat(4).reshape(1, 8, 8, 1), AS_NUMBERS),
    (NO_NUMBERS["masked"].repeat(4).reshape(1, 8, 8, 1), AS_NUMBERS),
]
CLASSES = [
    (LABELS + 1, r"labels \(batch,\) in 0\.\.2, received int64 of shape \(16,\) with values 1\.\.3"),
    (LABELS - 1, r"values -1\.\.1"),
    (np.zeros(16), "received float64 of shape"),
    (np.zeros((16, 3), "int64"), r"of shape \(16, 3\)"),
    (np.zeros(5, "int64"), "one row for each of 16 samples, received 5 rows"),
    (None, "broke 'context'.*received none"),
]
TABLES = [
    (np.full((4, 2), np.nan, "float32"), "expected finite numbers"),
    (np.float32(1), "got .*, expected context as an array of numbers, batch first"),
    ({"a": ROWS, "b": ROWS[:3]}, "one row for each of 4 samples, received 3 and 4 rows"),
    *((NO_NUMBERS[name][:, :2], AS_NUMBERS) for name in ("masked", "complex", "text", "dates")),
]
BAD = [
    *(("vector_flow", (x,), message) for x, message in NUMBERS),
    *(("image_flow", (x,), message) for x, message in IMAGES),
    *(("class_flow", (PIXELS, labels), message) for labels, message in CLASSES),
    *(("context_flow", (ROWS, context), message) for context, message in TABLES),
]


METHODS = ("log_prob", "encode", "bits_per_dim", "fit", "round_trip_error")


@pytest.mark.parametrize(("name", "data", "message"), BAD)
def test_bad_data_are_refused_by_each_method(request, name, data, message):
    flow, x, context = request.getfixturevalue(name), data[0], (*data, None)[1]
    flow.compile()
    for method in (*METHODS, "adapt"):
        with pytest.raises(ValueError, match=message) as caught:
            getattr(flow, method)(x, context=context)
        one_line(caught.value)


@pytest.mark.parametrize("method", METHODS)
def test_a_context_of_another_width_is_refused_by_what_reads_it(context_flow, method):
    context_flow.compile()
    with pytest.raises(ValueError, match=r"vectors \(batch, 2\).*received shape \(4, 3\)") as caught:
        getattr(context_flow, method)(ROWS, context=np.zeros((4, 3), "float32"))
    one_line(caught.value)


@pytest.mark.parametrize("wrong", [*NO_NUMBERS.values(), None])
def test_bad_latents(vector_flow, wrong):
    with pytest.raises(ValueError, match=AS_NUMBERS) as caught:
        vector_flow.decode(wrong)
    one_line(caught.value)


def test_numbers_in_other_types_are_taken(vector_flow):
    expected = vector_flow.log_prob(ROWS)
    unmasked = np.ma.masked_greater(ROWS, 100.0)
    for same in (ROWS.tolist(), ROWS.astype(object), ROWS.astype("float64"), unmasked):
        np.testing.assert_allclose(vector_flow.log_prob(same), expected, rtol=1e-6)
    half = keras.ops.convert_to_tensor(ROWS, dtype="bfloat16")
    np.testing.assert_allclose(vector_flow.log_prob(half), expected, rtol=0.1)
    assert vector_flow.log_prob(np.ones((2, 4), bool)).shape == (2,)


def test_bad_contexts_when_sampling(class_flow, context_flow):
    for labels in (np.array([3]), None):
        with pytest.raises(ContractError, match="broke 'context'"):
            class_flow.sample(2, context=labels)
    for name in ("masked", "complex", "text", "dates"):
        with pytest.raises(ValueError, match=AS_NUMBERS):
            context_flow.sample(2, NO_NUMBERS[name][:, :2])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda flow, x: flow.sample(-1), "n: got -1, expected a whole number from 0 up"),
        (lambda flow, x: flow.sample(2.0), "n: got 2.0, expected a whole number from 0 up"),
        (
            lambda flow, x: flow.log_prob(x, batch_size=0),
            "batch_size: got 0, expected a whole number from 1 up",
        ),
        (
            lambda flow, x: flow.bits_per_dim(x, samples=0),
            "samples: got 0, expected a whole number from 1 up",
        ),
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


def test_latents_of_the_wrong_length(image_flow):
    with pytest.raises(ContractError, match=r"flat latents \(batch, 64\), received shape \(2, 63\)"):
        image_flow.decode(np.zeros((2, 63), "float32"))


def test_maps_of_latents_are_joined_before_they_are_decoded(image_flow):
    image_flow.adapt(np.random.default_rng(0).integers(0, 256, (8, 8, 8, 1)).astype("uint8"))
    maps = image_flow.bijector.split_latents(np.zeros((2, 64), "float32"))
    assert image_flow.decode(image_flow.bijector.join_latents(maps)).shape == (2, 8, 8, 1)


def test_what_is_no_bijector_is_told_what_to_write():
    with pytest.raises(TypeError, match=r"Chain\(\[...\]\)"):
        Flow([Shift()])
    with pytest.raises(TypeError, match=r"Call a class"):
        Flow(Shift)


def test_labels_may_be_a_list_and_a_single_one_is_none(class_flow, images):
    labels = [0, 1, *[2] * (len(images) - 2)]
    np.testing.assert_array_equal(
        class_flow.log_prob(images, labels), class_flow.log_prob(images, np.array(labels))
    )
    with pytest.raises(ValueError, match=r"got 1, .*context=\[1\] is one row"):
        class_flow.sample(2, 1)


def test_keras_rounding_the_data_of_a_float64_flow_is_told():
    with engine.float64():
        flow = Flow(Shift())
        x = np.random.default_rng(0).normal(size=(4, 2))
        flow.compile("sgd")
        with warnings.catch_warnings(action="error", category=UserWarning):
            flow.evaluate(x, verbose=0)
    with pytest.warns(UserWarning, match=r"rounds to float32 in fit.*set_floatx\('float64'\)") as caught:
        flow.fit(x, verbose=0)
    assert caught[0].filename == __file__
    with warnings.catch_warnings(action="error", category=UserWarning):
        flow.fit(x.astype("float32"), verbose=0)
