"""What the card decides and the host does not wait for: whether a step is taken, and which seed comes next."""

import keras
import numpy as np
import pretend_card
import pytest
from keras import ops

from flowkit import backends, training

ADAMS = {
    "Adam": lambda: keras.optimizers.Adam(0.1, use_ema=True, ema_momentum=0.75, global_clipnorm=1.5),
    "AdamW": lambda: keras.optimizers.AdamW(0.1, weight_decay=0.1, beta_2=0.8, use_ema=True),
    "a schedule": lambda: keras.optimizers.Adam(training.WarmUp(0.1, warmup_steps=3), clipnorm=0.5),
}
OTHERS = {
    "SGD": lambda: keras.optimizers.SGD(0.1, momentum=0.5),
    "amsgrad": lambda: keras.optimizers.Adam(0.1, amsgrad=True),
    "accumulation": lambda: keras.optimizers.Adam(0.1, gradient_accumulation_steps=2),
    "overwriting": lambda: keras.optimizers.Adam(0.1, use_ema=True, ema_overwrite_frequency=2),
}
STEPS = (1.0, 2.0, np.nan, np.inf, 3.0)  # times the gradients


def numbers(variables):
    return [ops.convert_to_numpy(variable).copy() for variable in variables]


def stepped(optimizer):
    """The weights and the state of the optimizer after each of the steps."""
    weights = [keras.Variable(np.arange(6, dtype="float32").reshape(2, 3)), keras.Variable([1.0, -2.0])]
    optimizer.build(weights)
    after = []
    for size in STEPS:
        grads = [ops.cos(weight.value) for weight in weights]
        grads[1] = grads[1] * ops.convert_to_tensor(size, "float32")
        optimizer.apply(grads, weights)
        after.append(numbers([*weights, *optimizer.variables]))
    return after


def guarded(make):
    return training.GuardedOptimizer(make())


@pytest.mark.parametrize("make", (ADAMS | OTHERS).values(), ids=ADAMS | OTHERS)
def test_a_choice_on_the_card_is_the_one_that_the_host_would_make(make, monkeypatch):
    own = stepped(guarded(make))
    monkeypatch.setattr(backends, "step_if", lambda *given: False)
    for one, other in zip(own, stepped(guarded(make)), strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("make", ADAMS.values(), ids=ADAMS)
def test_a_step_that_is_missed_changes_no_bit(make):
    optimizer = guarded(make)
    _, before, _, after, _ = stepped(optimizer)
    changed = [not np.array_equal(a, b) for a, b in zip(before, after, strict=True)]
    assert sum(changed) == 2  # what counts them
    assert int(optimizer.skipped) == 2
    assert int(optimizer.skipped_in_a_row) == 0
    assert int(optimizer.iterations) == 3


@pytest.mark.parametrize(("make", "waits"), [(ADAMS["AdamW"], 0), (OTHERS["SGD"], 1)])
def test_what_cannot_be_chosen_there_waits(make, waits):
    optimizer, weights = guarded(make), [keras.Variable([1.0, 2.0])]
    optimizer.build(weights)
    grads = [ops.ones_like(weights[0].value)]
    with pretend_card.counting() as counts:
        optimizer.apply(grads, weights)
    assert counts.waits["guard.py:apply"] == waits


def test_seeds_that_the_host_knows_are_those_that_keras_gives():
    plain, copied = keras.random.SeedGenerator(7), keras.random.SeedGenerator(7)
    known = backends.known_seeds(copied)
    assert backends.known_seeds(copied) is known

    def draws(generator):
        return ops.convert_to_numpy(keras.random.normal((3,), seed=generator))

    for _ in range(3):
        np.testing.assert_array_equal(draws(known), draws(plain))
    np.testing.assert_array_equal(*numbers([copied.state, plain.state]))
    for generator in (copied, plain):  # as a file does
        generator.state.assign([5, 9])
    with pretend_card.counting() as counts:
        known.next()
        known.next()
    assert counts.waits.total() == 1
    for _ in range(2):
        plain.next()
    np.testing.assert_array_equal(draws(known), draws(plain))
