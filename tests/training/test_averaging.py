import keras
import numpy as np
import pytest
from standin import compiled, identical, rows, values

from flowkit import Flow, data, training
from flowkit.bijectors import BatchNorm, Chain, Coupling, Permute, Repeat
from flowkit.engines import engine

MOMENTUM = 0.75


class Averages(keras.callbacks.Callback):
    """Keeps its own moving average of the weights, and looks at the model's in each epoch."""

    def on_train_begin(self, logs=None):
        self.expected, self.seen, self.undisturbed = None, [], []

    def on_epoch_end(self, epoch, logs=None):
        weights = values(self.model.weights)
        if self.expected is None:
            self.expected = weights
        else:
            self.expected = [
                MOMENTUM * a + (1 - MOMENTUM) * w for a, w in zip(self.expected, weights, strict=True)
            ]
        with training.averaged_weights(self.model):
            inside = values(self.model.weights)
        self.seen.append(max(np.abs(a - 1.0 * b).max() for a, b in zip(inside, self.expected, strict=True)))
        self.undisturbed.append(identical(weights, values(self.model.weights)))


def normalised(optimizer):
    """Return a compiled flow with statistics that move in training: its own, and those of a network."""
    keras.utils.set_random_seed(0)
    dense, out = keras.layers.Dense(8, activation="relu"), keras.layers.Dense(4)
    network = keras.Sequential([dense, keras.layers.BatchNormalization(momentum=0.5), out])
    flow = Flow(Chain([Repeat(Chain([BatchNorm(), Coupling(network), Permute()]), 2), BatchNorm()]))
    flow.adapt(rows(64))
    flow.compile(optimizer)
    return flow


def one_step_epochs(optimizer, epochs, callbacks=(), made=compiled):
    model = made(optimizer)
    model.fit(rows(8), batch_size=8, epochs=epochs, shuffle=False, verbose=0, callbacks=callbacks)
    return model


def adam(**kwargs):
    return keras.optimizers.Adam(0.05, **kwargs)


@pytest.mark.parametrize("made", [compiled, normalised])
def test_the_scope_shows_the_average_and_puts_the_weights_back(made):
    def train(callbacks):
        optimizer = training.GuardedOptimizer(adam(use_ema=True, ema_momentum=MOMENTUM))
        return values(one_step_epochs(optimizer, 5, callbacks, made).variables)

    watch = Averages()
    assert identical(train([watch]), train([]))
    assert watch.undisturbed == [True] * 5
    assert max(watch.seen) < 32 * np.finfo("float32").eps  # weights of size 1, five roundings


def test_before_the_first_step_the_weights_stand_in_for_the_average():
    model = compiled(training.GuardedOptimizer(adam(use_ema=True)))
    before = values(model.trainable_variables)
    with training.averaged_weights(model):
        assert identical(before, values(model.trainable_variables))


def test_averaged_weights_come_with_statistics_that_fit_them():
    """The score is nearer to that of statistics taken anew than with those that training had at the end."""
    flow, x = normalised(adam(use_ema=True, ema_momentum=0.9)), rows(64)
    own = []
    keep = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: own.append(flow.get_weights()))
    flow.fit(x, batch_size=64, epochs=12, verbose=0, callbacks=[keep])
    averaged = flow.log_prob(x).mean()
    for weight, value in zip(flow.weights, own[-1], strict=True):
        if not weight.trainable:
            weight.assign(value)
    of_training = flow.log_prob(x).mean()
    with engine.no_grad():
        for _ in range(25):
            flow(x, training=True)
    anew = flow.log_prob(x).mean()
    assert abs(averaged - anew) < abs(of_training - anew) / 3


def test_averages_of_statistics_go_on_from_a_checkpoint(tmp_path):
    def train(path, epochs):
        flow = normalised(training.GuardedOptimizer(adam(use_ema=True)))
        resume = training.Resume(path, batches=data.batches(rows(16), batch_size=8))
        resume.load(flow)
        resume.fit(flow, epochs)
        return values(flow.variables)

    train(tmp_path / "parts.npz", 2)
    assert identical(train(tmp_path / "parts.npz", 4), train(tmp_path / "whole.npz", 4))
