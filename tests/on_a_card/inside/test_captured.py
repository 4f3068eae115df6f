"""Steps that are recorded train as those that run one by one, to the last bit."""

import keras
import numpy as np
import pytest
from keras import ops
from pretend_graph import PretendGraph
from recording import BATCH, EPOCHS, OPTIMIZERS, REPLAYS, ROWS, assert_same, of_vectors, state, trained

from flowkit import objectives

pytestmark = pytest.mark.usefixtures("graph")


def assert_alike(make, optimizer, x, replays=REPLAYS, **given):
    """Train a flow in both ways; what it is in the end, and its logs, are the same. Gives the one with a graph."""
    plain, logs = trained(make, optimizer, False, x, **given)
    assert PretendGraph.made == 0
    recorded, same = trained(make, optimizer, True, x, **given)
    assert (PretendGraph.made, PretendGraph.replays) == (1, replays)
    assert same == logs
    assert_same(plain, recorded)
    return recorded


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_optimizers(glow, images, optimizer):
    flow = assert_alike(glow, optimizer, images[:ROWS])
    assert int(flow.optimizer.iterations) == 8 * EPOCHS
    assert int(flow.dequantize.noise.state[1]) == 8 * EPOCHS  # a draw for each step, as without a graph


@pytest.mark.parametrize("options", [{"backprop": "recompute"}, {"backprop": "reversible"}], ids=str)
def test_gradients_that_save_memory(glow, images, options):
    assert_alike(lambda: glow(**options), OPTIMIZERS["guarded"], images[:ROWS])


@pytest.mark.parametrize("options", [{}, {"classifier_weight": 0.01}], ids=["classes", "classifier"])
def test_labels(glow, images, labels, options):
    make = lambda: glow(num_classes=4, **options)  # noqa: E731
    assert_alike(make, OPTIMIZERS["guarded"], images[:ROWS], context=labels[:ROWS])


def test_a_batch_that_is_not_finite_is_skipped_in_a_replay(glow, images):
    weights = np.ones(ROWS, "float32")
    weights[5 * BATCH] = 3e38  # the sixth batch, whose loss is infinite
    flow = assert_alike(glow, OPTIMIZERS["guarded"], images[:ROWS], sample_weight=weights)
    assert int(flow.optimizer.skipped) == EPOCHS
    assert int(flow.optimizer.iterations) == 7 * EPOCHS


def test_a_rate_that_a_callback_changes_is_read(glow, images):
    class Slower(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            self.model.optimizer.learning_rate = 1e-2 / (1 + batch)

    assert_alike(glow, OPTIMIZERS["guarded"], images[:ROWS], callbacks=[Slower()])


def test_validation_between_epochs_changes_nothing(glow, images):
    assert_alike(glow, OPTIMIZERS["guarded"], images[:ROWS], validation_data=images[ROWS:])


# What is drawn


class Noisy(objectives.Objective):
    """Likelihood of data with noise, by several of Keras's functions and by seeds of each sort."""

    mask = keras.random.SeedGenerator(5)

    def __call__(self, flow, x, context):
        x = x + 0.1 * keras.random.truncated_normal(ops.shape(x), seed=flow.sampler)
        x = x * keras.random.uniform((ops.shape(x)[0], 1), 0.9, 1.1, seed=7)
        x = x + keras.random.randint(ops.shape(x), 0, 3, seed=flow.sampler)
        x = keras.random.dropout(x, 0.25, seed=self.mask)
        return objectives.MaximumLikelihood()(flow, x, context)


def energy(x):
    return -0.5 * ops.sum(ops.square(x - 1), axis=-1)


def test_draws_of_all_sorts(points, monkeypatch):
    states = []
    for cuda_graph in (False, True):
        monkeypatch.setattr(Noisy, "mask", keras.random.SeedGenerator(5))
        flow, logs = trained(of_vectors, OPTIMIZERS["guarded"], cuda_graph, points, loss=Noisy())
        states.append([*state(flow).values(), ops.convert_to_numpy(Noisy.mask.state), np.array(logs)])
    assert PretendGraph.replays == REPLAYS
    for one, other in zip(*states, strict=True):
        np.testing.assert_array_equal(one, other)


def test_training_without_data():
    loss = objectives.ReverseKL(energy)
    assert_alike(of_vectors, OPTIMIZERS["guarded"], None, replays=17, loss=loss, steps_per_epoch=10)


def test_draws_that_depend_on_what_is_computed_are_refused(points):
    class Shuffled(objectives.Objective):
        def __call__(self, flow, x, context):
            return objectives.MaximumLikelihood()(flow, keras.random.shuffle(x, seed=flow.sampler), context)

    with pytest.raises(NotImplementedError, match=r"keras\.random\.shuffle of a tensor"):
        trained(of_vectors, OPTIMIZERS["guarded"], True, points, loss=Shuffled())


def test_other_draws_than_in_the_step_before_are_refused(points):
    class Fickle(objectives.Objective):
        steps = 0

        def __call__(self, flow, x, context):
            self.steps += 1
            shape = ops.shape(x) if self.steps < 4 else (1, 3)
            return objectives.MaximumLikelihood()(
                flow, x + keras.random.normal(shape, seed=flow.sampler), context
            )

    with pytest.raises(
        RuntimeError, match=r"steps that draw alike, received keras\.random\.normal as draw number 1"
    ):
        trained(of_vectors, OPTIMIZERS["guarded"], True, points, loss=Fickle())


# When it is recorded, and when anew


def test_weights_that_are_frozen_later_stay(glow, images):
    states = []
    for cuda_graph in (False, True):
        flow, _ = trained(glow, OPTIMIZERS["clipped one by one"], cuda_graph, images[:ROWS])
        part = flow.bijector.scales[0]
        part.trainable = False
        frozen = [ops.convert_to_numpy(weight).copy() for weight in part.weights]
        flow.fit(images[:ROWS], batch_size=BATCH, epochs=1, shuffle=False, verbose=0)
        part.trainable = True
        for before, weight in zip(frozen, part.weights, strict=True):
            np.testing.assert_array_equal(before, ops.convert_to_numpy(weight))
        flow.fit(images[:ROWS], batch_size=BATCH, epochs=1, shuffle=False, verbose=0)
        states.append(state(flow))
    assert PretendGraph.made == 3
    for one, other in zip(*(found.values() for found in states), strict=True):
        np.testing.assert_array_equal(one, other)


def test_it_is_recorded_anew_when_it_has_to_be(glow, images):
    flow, _ = trained(glow, OPTIMIZERS["guarded"], True, images[:ROWS])
    made, replays = PretendGraph.made, PretendGraph.replays
    flow.fit(images[:ROWS], batch_size=BATCH, verbose=0)
    assert (PretendGraph.made, PretendGraph.replays) == (made, replays + 7)  # the same weights
    flow.fit(images[:24], batch_size=3, verbose=0)
    assert (PretendGraph.made, PretendGraph.replays) == (made + 1, replays + 7 + 5)  # batches of another kind
    weight = flow.bijector.trainable_weights[0].value
    weight.data = weight.data.clone()
    flow.fit(images[:24], batch_size=3, verbose=0)
    assert (PretendGraph.made, PretendGraph.replays) == (made + 2, replays + 7 + 5 + 5)  # a weight elsewhere
    for rows in (2, 3, 2, 3, 2, 3, 2, 3):
        flow.train_on_batch(images[:rows])
    # One at a time, of two kinds in turns: that which comes the fourth time first is recorded
    assert (PretendGraph.made, PretendGraph.replays) == (made + 2 + 2, replays + 7 + 5 + 5 + 1)


def test_epochs_of_a_few_batches_are_recorded_too(glow, images):
    flow = glow()
    flow.compile(OPTIMIZERS["guarded"](), cuda_graph=True)
    flow.fit(images[:10], batch_size=4, epochs=6, verbose=0)  # two batches and a smaller one
    # The first kind after three of its steps, in the second epoch; then replays keep the smaller one from it
    assert (PretendGraph.made, PretendGraph.replays) == (2, 1 + 4 * 2)


def test_one_batch_at_a_time(glow, images):
    states = []
    for cuda_graph in (False, True):
        flow, _ = trained(glow, OPTIMIZERS["plain"], cuda_graph, images[:BATCH], epochs=1)
        logs = [flow.train_on_batch(images[i : i + BATCH]) for i in range(0, 24, BATCH)]
        states.append([np.array(logs), *state(flow).values()])
    assert PretendGraph.replays == 6 - 3
    for one, other in zip(*states, strict=True):
        np.testing.assert_array_equal(one, other)
