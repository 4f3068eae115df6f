import keras
import numpy as np
from standin import compiled, identical, rows, values

from flowkit import training

MOMENTUM = 0.75


class Averages(keras.callbacks.Callback):
    """Keeps its own moving average of the weights, and looks at the model's in each epoch."""

    def on_train_begin(self, logs=None):
        self.expected, self.seen, self.undisturbed = None, [], []

    def on_epoch_end(self, epoch, logs=None):
        weights = values(self.model.trainable_variables)
        if self.expected is None:
            self.expected = weights
        else:
            self.expected = [
                MOMENTUM * a + (1 - MOMENTUM) * w for a, w in zip(self.expected, weights, strict=True)
            ]
        with training.averaged_weights(self.model):
            inside = values(self.model.trainable_variables)
        self.seen.append(max(np.abs(a - b).max() for a, b in zip(inside, self.expected, strict=True)))
        self.undisturbed.append(identical(weights, values(self.model.trainable_variables)))


def one_step_epochs(optimizer, epochs, callbacks=()):
    model = compiled(optimizer)
    model.fit(rows(8), batch_size=8, epochs=epochs, shuffle=False, verbose=0, callbacks=callbacks)
    return model


def adam(**kwargs):
    return keras.optimizers.Adam(0.05, **kwargs)


def test_the_scope_shows_the_average_and_puts_the_weights_back():
    watch = Averages()
    optimizer = training.GuardedOptimizer(adam(use_ema=True, ema_momentum=MOMENTUM))
    one_step_epochs(optimizer, 5, [watch])
    assert watch.undisturbed == [True] * 5
    assert max(watch.seen) < 32 * np.finfo("float32").eps  # weights of size 1, five roundings


def test_looking_does_not_change_what_is_learned():
    def final(callbacks):
        optimizer = training.GuardedOptimizer(adam(use_ema=True, ema_momentum=MOMENTUM))
        return values(one_step_epochs(optimizer, 5, callbacks).trainable_variables)

    assert identical(final([Averages()]), final([]))


def test_before_the_first_step_the_weights_stand_in_for_the_average():
    model = compiled(training.GuardedOptimizer(adam(use_ema=True)))
    before = values(model.trainable_variables)
    with training.averaged_weights(model):
        assert identical(before, values(model.trainable_variables))
