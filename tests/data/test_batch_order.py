"""The order of batches: fixed by (seed, epoch), whatever Keras does around it."""

import keras
import numpy as np
import pytest
from keras import ops

from flowkit import Flow
from flowkit.bijectors import Scale
from flowkit.data import augment, batches

pytestmark = pytest.mark.one_engine

COUNT = 22
EVENTS = np.arange(1, COUNT + 1, dtype="float32")[:, None]


def expected(epoch, batch_size, seed=0):
    order = np.random.default_rng((seed, epoch)).permutation(COUNT)
    whole = COUNT // batch_size
    return EVENTS[order[: whole * batch_size], 0].reshape(whole, batch_size)


# ------------------------------------------------------------------ by itself


def test_order_is_a_function_of_seed_and_epoch():
    data = batches(EVENTS, batch_size=4, seed=5)
    for epoch in (0, 3, 1, 0):
        data.epoch = epoch
        assert np.array_equal([x[:, 0] for (x,) in data], expected(epoch, 4, seed=5))
    assert not np.array_equal(expected(0, 4), expected(1, 4))
    assert not np.array_equal(expected(0, 4, seed=0), expected(0, 4, seed=1))


def test_indexing_changes_nothing_and_needs_no_order():
    data = batches(EVENTS, batch_size=4)
    assert [data[i][0].tolist() for i in (4, 0, 4)] == [
        expected(0, 4)[i][:, None].tolist() for i in (4, 0, 4)
    ]
    with pytest.raises(IndexError, match=r"got 5, expected 0\.\.4"):
        data[5]


@pytest.mark.parametrize("epoch_steps", [3, 7])
def test_epochs_of_any_length_follow_one_another_through_the_passes(epoch_steps):
    data = batches(EVENTS, batch_size=4, epoch_steps=epoch_steps, seed=2)
    assert len(data) == data.num_batches == epoch_steps
    seen = []
    while len(seen) < 10:  # two passes of five
        seen += [x[:, 0] for (x,) in data]
        data.epoch += 1
    assert np.array_equal(seen[:10], [*expected(0, 4, seed=2), *expected(1, 4, seed=2)])
    data.epoch = 1  # going on from a checkpoint
    assert np.array_equal(data[0][0][:, 0], [*expected(0, 4, seed=2), *expected(1, 4, seed=2)][epoch_steps])


@pytest.mark.parametrize("epoch_steps", [None, 3, 7])
def test_from_a_step_on_an_epoch_holds_the_rest_and_the_next_is_whole(epoch_steps):
    noisy = [lambda x, rng: x + rng.normal(size=x.shape)]
    data = batches(EVENTS, batch_size=4, epoch_steps=epoch_steps, seed=2, augment=noisy)
    data.epoch = 1
    whole = [x for (x,) in data]
    data.step = 2
    assert len(data) == data.num_batches == len(whole) - 2
    assert np.array_equal([x for (x,) in data], whole[2:])
    data.epoch += 1
    assert (data.epoch, data.step, len(data)) == (2, 0, len(whole))
    with pytest.raises(ValueError, match=r"step: got 9, expected a whole number from 0 to \d"):
        data.step = 9


def test_an_end_moves_on_if_it_is_that_of_an_epoch():
    data = batches(EVENTS, batch_size=4)
    data.step = 2
    data.on_epoch_end()  # by which Keras starts afresh
    assert (data.epoch, data.step) == (0, 2)
    data.on_epoch_begin()
    data.on_epoch_end()
    assert (data.epoch, data.step) == (1, 0)


def test_context_stays_with_its_events():
    context = {"label": np.arange(COUNT), "pair": np.stack([np.arange(COUNT)] * 2, 1)}
    for (batch,) in batches(EVENTS, context, batch_size=4):
        assert np.array_equal(batch["x"][:, 0], batch["context"]["label"] + 1)
        assert np.array_equal(batch["x"] + [[0, 0]], batch["context"]["pair"] + 1)
    for (batch,) in batches(EVENTS, np.arange(COUNT), batch_size=4):
        assert np.array_equal(batch["x"][:, 0], batch["context"] + 1)


def test_augmentation_is_a_function_of_seed_epoch_and_index():
    def noise(x, rng):
        return x + rng.integers(1 << 40, size=x.shape)

    def run(order, seed=0):
        data = batches(EVENTS * 0, batch_size=4, seed=seed, augment=noise)
        return {key: (setattr(data, "epoch", key[0]), data[key[1]][0].tolist())[1] for key in order}

    keys = [(epoch, index) for epoch in range(2) for index in range(5)]
    assert run(keys) == run(keys[::-1])
    assert len({str(value) for value in run(keys).values()}) == len(keys)
    assert run(keys) != run(keys, seed=1)


def test_augmentations_come_in_the_order_of_the_list():
    data = batches(EVENTS, batch_size=4, augment=[lambda x, _: x + 1, lambda x, _: x * 10])
    assert np.array_equal(data[0][0][:, 0], (expected(0, 4)[0] + 1) * 10)


# ------------------------------------------------------------------ under fit


class Recorder(keras.layers.Layer):
    """Writes each training batch it sees into a weight, so that compiled steps are seen too."""

    ROWS = 40

    def __init__(self, batch_size):
        super().__init__()
        self.seen = self.add_weight(
            shape=(self.ROWS, batch_size), initializer="zeros", trainable=False, name="seen"
        )
        self.row = self.add_weight(shape=(), initializer="zeros", trainable=False, name="row")
        self.scale = self.add_weight(shape=(), initializer="ones", name="scale")

    def call(self, x, training=False):
        if training:
            rows = ops.arange(self.ROWS, dtype="float32")
            here = ops.cast(ops.equal(rows, self.row + 0), "float32")
            self.seen.assign(self.seen + here[:, None] * ops.reshape(x, (1, -1)))
            self.row.assign(self.row + 1)
        return x * self.scale


class RecordingFlow(Flow):
    def __init__(self, batch_size):
        super().__init__(Scale(0.0))
        self.recorder = Recorder(batch_size)
        self.compile(keras.optimizers.SGD(0.0))

    def call(self, inputs, training=None):
        return super().call(self.recorder(inputs, training=training))


class Recording(keras.Model):
    def __init__(self, batch_size):
        super().__init__()
        self.recorder = Recorder(batch_size)
        self.compile(optimizer="sgd")

    def call(self, inputs, training=False):
        x = inputs["x"] if isinstance(inputs, dict) else inputs
        return self.recorder(x, training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return ops.mean(y_pred)


def seen(model):
    rows = int(ops.convert_to_numpy(model.recorder.row))
    return ops.convert_to_numpy(model.recorder.seen)[:rows]


def epochs(start, stop, batch_size):
    return np.concatenate([expected(epoch, batch_size) for epoch in range(start, stop)])


@pytest.mark.two_engines
def test_fit_is_not_disturbed_by_validation_and_peeking():
    model, data = Recording(4), batches(EVENTS, batch_size=4)
    peek = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: data[3])
    validation = batches(EVENTS, batch_size=11, seed=1)
    model.fit(
        data, epochs=3, shuffle=False, verbose=0, validation_data=validation, callbacks=[data.for_fit(), peek]
    )
    assert np.array_equal(seen(model)[-15:], epochs(0, 3, 4))


@pytest.mark.two_engines
@pytest.mark.parametrize("batch_size", [4, 22], ids=["5 batches", "1 batch"])
@pytest.mark.parametrize("make", [Recording, RecordingFlow])
@pytest.mark.parametrize("built", [False, True], ids=["unbuilt", "built"])
def test_a_fit_that_says_when_it_begins_leaves_nothing_to_guess(batch_size, make, built):
    """Not even after an interrupted epoch, or with a second model, which may have to be built."""
    data = batches(EVENTS, batch_size=batch_size)
    for start in (0, 3):
        model = make(batch_size)
        if built:
            model.recorder.built = True
            model(data[0][0])
        for more in (2, 1):
            before = data.epoch
            callbacks = [data.for_fit()] if make is Recording else keras.callbacks.History()
            model.fit(data, epochs=more, shuffle=False, verbose=0, callbacks=callbacks)
            assert data.epoch == before + more
            data.on_epoch_begin()  # and is interrupted
        assert np.array_equal(seen(model)[-3 * len(data) :], epochs(start, start + 3, batch_size))


# ------------------------------------------------------------------ augmentations


def test_shift_moves_whole_images_and_repeats_edges(rng):
    images = np.broadcast_to(np.arange(20, dtype=np.uint8), (200, 20, 20))[..., None]
    moved = augment.shift(0.1)(images, rng)
    assert moved.dtype == np.uint8
    offsets = moved[:, 0, 10, 0].astype(int) - 10
    assert set(offsets.tolist()) == {-2, -1, 0, 1, 2}
    for image, offset in zip(moved, offsets, strict=True):
        assert np.array_equal(image[5, :, 0], np.clip(np.arange(20) + offset, 0, 19))


def test_shift_moves_both_axes_independently(rng):
    ramp = np.arange(100, dtype=np.uint8).reshape(10, 10)
    moved = augment.shift(0.1)(np.stack([ramp] * 200)[..., None], rng)
    assert len({int(image[5, 5, 0]) for image in moved}) == 9


def test_shift_of_nothing_and_of_too_much(rng):
    images = rng.integers(0, 256, (3, 6, 6, 3)).astype(np.uint8)
    assert np.array_equal(augment.shift(0)(images, rng), images)
    assert np.array_equal(augment.shift(0.1)(images, rng), images)  # less than a pixel
    with pytest.raises(ValueError, match=r"max_fraction: got 3, expected a number in \[0, 1\]"):
        augment.shift(3)


def test_flip_mirrors_half_of_the_images(rng):
    images = rng.integers(0, 256, (1000, 4, 6, 3)).astype(np.uint8)
    flipped = augment.flip()(images, rng)
    assert flipped.dtype == np.uint8
    mirrored = (flipped == images[:, :, ::-1]).all((1, 2, 3))
    assert (mirrored | (flipped == images).all((1, 2, 3))).all()
    assert abs(mirrored.sum() - 500) < 4 * np.sqrt(250)  # four standard deviations


def test_crop_cuts_whole_squares_at_every_place(rng):
    image = np.arange(30, dtype=np.uint8).reshape(5, 6)
    cut = augment.crop(3)(np.stack([image] * 300)[..., None], rng)[..., 0]
    corners = {(int(c[0, 0]) // 6, int(c[0, 0]) % 6) for c in cut}
    assert corners == {(row, column) for row in range(3) for column in range(4)}
    for c in cut:
        row, column = divmod(int(c[0, 0]), 6)
        assert np.array_equal(c, image[row : row + 3, column : column + 3])
    whole = augment.crop(5)(image[None, :, :5, None], rng)
    assert np.array_equal(whole[0, ..., 0], image[:, :5])
    with pytest.raises(ValueError, match="got images of 6x5, expected at least 7x7"):
        augment.crop(7)(image[None, ..., None], rng)
    with pytest.raises(ValueError, match="size: got 0, expected a whole number from 1"):
        augment.crop(0)


def test_distort_moves_pixels_by_its_matrix(rng):
    images = rng.integers(0, 256, (2, 5, 5, 3)).astype(np.uint8)
    quarter = np.array([[0.0, -1.0], [1.0, 0.0]])
    turned = augment.moved_by(images, np.stack([quarter, np.eye(2)]))
    assert np.array_equal(turned[0], np.rot90(images[0], -1))
    assert np.array_equal(turned[1], images[1])
    ramp = np.broadcast_to(np.arange(9, dtype=np.uint8), (1, 9, 9))[..., None]
    half = augment.moved_by(ramp, 2 * np.eye(2)[None])[0, 0, :, 0]
    assert half.tolist() == [0, 0, 0, 2, 4, 6, 8, 8, 8]  # every second one, edges repeated


def test_distort_stays_within_what_it_is_told(rng):
    image = np.zeros((41, 41), np.uint8)
    image[20, 36] = 255  # 16 to the right of the centre
    turned = augment.distort(15, 0, 0)(np.stack([image] * 200)[..., None], rng)[..., 0]
    found = [np.argwhere(t) - 20 for t in turned if t.any()]
    angles = [np.degrees(np.arctan2(row, column)) for places in found for row, column in places]
    assert 10 < max(angles) <= 15 + 2.6  # half a pixel's diagonal at distance 16 is 2.5 degrees
    assert -15 - 2.6 <= min(angles) < -10
    assert turned.dtype == np.uint8
    with pytest.raises(ValueError, match=r"zoom: got 1, expected a number in \[0, 1\)"):
        augment.distort(zoom=1)
