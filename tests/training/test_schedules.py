import math

import keras
import pytest
from keras import ops

from flowkit import training

pytestmark = pytest.mark.one_engine


def rate(schedule, step):
    return float(ops.convert_to_numpy(schedule(step)))


def test_warm_up_is_linear_and_never_zero():
    schedule = training.WarmUp(2e-3, warmup_steps=4)
    assert [rate(schedule, t) for t in range(6)] == pytest.approx([0.5e-3, 1e-3, 1.5e-3, 2e-3, 2e-3, 2e-3])


def test_cosine_follows_the_formula():
    schedule = training.WarmUpCosine(1e-3, warmup_steps=10, total_steps=50, floor=0.1)
    for step in (10, 17, 30, 50, 80):
        progress = min((step - 10) / 40, 1)
        expected = 1e-3 * (0.1 + 0.9 * (1 + math.cos(math.pi * progress)) / 2)
        assert rate(schedule, step) == pytest.approx(expected)
    assert rate(schedule, 4) == pytest.approx(0.5e-3)


@pytest.mark.parametrize(
    "schedule",
    [
        training.WarmUp(0.1, warmup_steps=3),
        training.WarmUpCosine(0.1, warmup_steps=3, total_steps=9, floor=0.2),
    ],
)
def test_config_round_trip(schedule):
    config = keras.saving.serialize_keras_object(schedule)
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is type(schedule)
    assert [rate(again, t) for t in range(12)] == [rate(schedule, t) for t in range(12)]
