"""Held-out data choose when training ends and which weights are kept, and change nothing else in it."""

import keras
import numpy as np
import pytest
from standin import identical, values
from tolerance import PARITY

from flowkit import data, distributed, training, zoo
from flowkit.training import Validation, checkpoint

pytestmark = pytest.mark.one_engine

IMAGES = np.random.default_rng(0).integers(0, 17, (40, 4, 4, 1), dtype="uint8")
TRAIN, HELD_OUT = IMAGES[:32], IMAGES[32:]


class Scores(Validation):
    """Its scores are given; `weights` are those that each was taken of."""

    start = np.inf

    def __init__(self, scores, **how):
        super().__init__(HELD_OUT, **how)
        self.given, self.weights, self.epoch = scores, {}, None

    def on_epoch_end(self, epoch, logs=None):
        self.epoch = epoch
        super().on_epoch_end(epoch, logs)

    def _score(self):
        if self.epoch is None:  # of the weights that training begins with
            return "bits_per_dim", self.start
        self.weights[self.epoch] = values(self.model.weights)
        return "bits_per_dim", self.given[self.epoch]


def made():
    keras.utils.set_random_seed(0)
    flow = zoo.glow(levels=1, steps=1, width=4, data_levels=17)
    flow.adapt(TRAIN)
    optimizer = keras.optimizers.Adam(1e-2, use_ema=True, ema_momentum=0.75)
    flow.compile(training.GuardedOptimizer(optimizer))
    return flow


def fit(*callbacks, epochs=4):
    flow = made()
    batches = data.batches(TRAIN, batch_size=16)
    history = flow.fit(batches, epochs=epochs, shuffle=False, verbose=0, callbacks=list(callbacks))
    return flow, history.history


def test_the_score_is_that_of_the_averaged_weights_and_training_does_not_feel_it():
    seen = []

    def look(epoch, logs):
        with training.averaged_weights(looking.model) as flow:
            seen.append(float(flow.bits_per_dim(HELD_OUT).astype("float64").mean()))

    looking = keras.callbacks.LambdaCallback(on_epoch_end=look)
    flow, history = fit(Validation(HELD_OUT, keep_best=False), looking)
    assert history["val_bits_per_dim"] == seen
    assert len(set(seen)) == 4
    assert identical(values(flow.variables), values(fit()[0].variables))


@pytest.mark.parametrize(
    ("given", "start", "best", "epoch", "epochs"),
    [
        ([3.0, 1.0, np.nan, 2.0], np.inf, 1.0, 1, 4),
        (
            [3.0, 1.5, np.nan, 2.0],
            1.0,
            1.0,
            -1,
            3,
        ),  # training never ends with worse weights than it began with
        ([np.nan] * 4, np.inf, None, 2, 3),  # without a score the last ones stay
    ],
)
def test_the_best_weights_are_kept(monkeypatch, given, start, best, epoch, epochs):
    monkeypatch.setattr(Scores, "start", start)
    scores, plain = Scores(given, early_stopping=3), Scores(given, keep_best=False)
    flow, history = fit(scores)
    assert (scores.best, len(history["loss"])) == (best, epochs)
    assert best is None or scores.best_epoch == epoch
    weights = {-1: values(made().weights), **scores.weights}
    assert identical(values(flow.weights), weights[epoch])
    assert not identical(weights[0], weights[2])
    assert identical(values(fit(plain)[0].weights), plain.weights[3])


@pytest.mark.wide
@pytest.mark.parametrize(("patience", "epochs"), [(1, 3), (2, 6), (None, 6)])
def test_it_stops_after_so_many_epochs_without_a_better_score(patience, epochs):
    scores = Scores([3.0, 2.0, 2.0, 1.5, 1.6, np.nan], early_stopping=patience)
    _, history = fit(scores, epochs=6)
    assert len(history["loss"]) == epochs


def test_each_process_reads_and_scores_its_part_with_the_noise_of_one(monkeypatch):
    flow, read, parts = made(), [], []

    def rows_of(rows):
        read.extend(rows.tolist())
        return HELD_OUT[rows]

    held_out = Validation(data.LazyImages(rows_of, HELD_OUT.shape))
    held_out.set_model(flow)
    monkeypatch.setattr(distributed, "gather", lambda rows: parts.append(rows) or np.ones(1))
    for rank in range(9):
        monkeypatch.setattr(distributed, "mine", lambda rows, rank=rank: np.array_split(rows, 9)[rank])
        read.clear()
        held_out._score()
        assert set(read) == {rank % 8}  # a process without a row reads one, and scores none
    np.testing.assert_allclose(np.concatenate(parts), flow.log_prob(HELD_OUT), rtol=PARITY)


def resumed(path, given, epochs, **how):
    """(flow, callback) after training from the checkpoint at `path` to so many epochs."""
    flow, scores = made(), Scores(given, **how)
    resume = training.Resume(path, callbacks=[scores], batches=data.batches(TRAIN, batch_size=16))
    resume.load(flow)
    resume.fit(flow, epochs, [scores])
    return flow, scores


@pytest.mark.parametrize("best", [0, 2])
def test_a_run_that_goes_on_remembers_the_best_weights(tmp_path, best):
    given = [2.0] * 4
    given[best] = 1.0
    whole, _ = resumed(tmp_path / "whole.npz", given, 4)
    for epochs in (1, 3, 4):
        parts, scores = resumed(tmp_path / "parts.npz", given, epochs)
    assert scores.best_epoch == best
    assert identical(values(whole.weights), values(parts.weights))
    arrays = [checkpoint.read(tmp_path / name)[0] for name in ("whole.npz", "parts.npz")]
    assert arrays[0].keys() == arrays[1].keys()
    assert identical([arrays[0][key] for key in arrays[0]], [arrays[1][key] for key in arrays[0]])


@pytest.mark.parametrize(
    ("given", "patience", "scored"),
    [
        ([1.0, 2.0, 2.0, 0.5], 2, [0, 1, 2]),
        ([np.nan, np.nan, 1.0, 1.0], 1, [0, 1]),  # a first score that is NaN ends nothing in the first epoch
    ],
)
def test_a_run_that_has_stopped_early_does_not_go_on(tmp_path, given, patience, scored):
    flow, first = resumed(tmp_path / "a.npz", given, 4, early_stopping=patience)
    assert sorted(first.weights) == scored
    again, second = resumed(tmp_path / "a.npz", given, 4, early_stopping=patience)
    assert second.weights == {}
    assert second.best_epoch == first.best_epoch
    assert identical(values(flow.weights), values(again.weights))


@pytest.mark.one_engine
def test_the_best_weights_of_keras_own_early_stopping_are_kept_too(tmp_path):
    def train(path, epochs):
        flow = made()
        # The first epoch is "best".
        stopping = keras.callbacks.EarlyStopping("loss", mode="max", patience=9, restore_best_weights=True)
        resume = training.Resume(path, callbacks=[stopping], batches=data.batches(TRAIN, batch_size=16))
        resume.load(flow)
        resume.fit(flow, epochs, [stopping])
        return values(flow.weights)

    whole = train(tmp_path / "whole.npz", 3)
    train(tmp_path / "parts.npz", 1)
    assert identical(whole, train(tmp_path / "parts.npz", 3))
