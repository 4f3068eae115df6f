"""Flows that are trained with their steps recorded, and without: what both kinds of tests share."""

import itertools

import keras
import numpy as np
from keras import ops

import flowkit
from flowkit import training
from flowkit.bijectors import Coupling
from flowkit.conditioners import MLP

ROWS, BATCH, EPOCHS = 30, 4, 2  # seven batches and a smaller one
REPLAYS = 7 - 3 + 7  # all but the smaller ones, and a warm-up of three


class Logs(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append({name: float(value) for name, value in logs.items()})


def adam(rate=1e-3, **options):
    return keras.optimizers.Adam(rate, use_ema=True, ema_momentum=0.9, global_clipnorm=50.0, **options)


def guarded(optimizer):
    return training.GuardedOptimizer(optimizer)


def trained(make, optimizer, cuda_graph, x, loss=None, callbacks=(), **given):
    """(a flow from `make` that has been trained, the logs of each step)."""
    keras.utils.set_random_seed(3)
    flow, logs = make(), Logs()
    flow.compile(optimizer(), loss, cuda_graph=cuda_graph)
    given = {"batch_size": BATCH, "epochs": EPOCHS, "shuffle": False} | given
    flow.fit(x, verbose=0, callbacks=[logs, *callbacks], **given)
    return flow, logs.seen


def state(flow):
    return {v.path: ops.convert_to_numpy(v) for v in [*flow.variables, *flow.optimizer.variables]}


def assert_same(one, other):
    """All that two flows and their optimizers hold is equal, bit for bit."""
    for (_, value), (path, same) in zip(state(one).items(), state(other).items(), strict=True):
        np.testing.assert_array_equal(value, same, err_msg=path)


def host_rate():
    rates = itertools.count(1)
    return lambda: 1e-2 / next(rates)


OPTIMIZERS = {
    "guarded": lambda: guarded(adam()),
    "a schedule": lambda: guarded(adam(training.WarmUpCosine(1e-2, total_steps=12, warmup_steps=4))),
    "plain": adam,
    "clipped one by one": lambda: keras.optimizers.Adam(1e-3, clipnorm=0.1),
    "clipped entries": lambda: guarded(keras.optimizers.AdamW(1e-3, clipvalue=0.1, use_ema=True)),
    "AdamW": lambda: guarded(keras.optimizers.AdamW(1e-3, weight_decay=0.1, clipnorm=0.5)),
    "AdamW by a schedule": lambda: keras.optimizers.AdamW(
        training.WarmUpCosine(1e-2, total_steps=12, warmup_steps=4), weight_decay=0.1
    ),
    "a function of the host": lambda: keras.optimizers.Adam(host_rate()),
    "Keras's schedule": lambda: keras.optimizers.Adam(
        keras.optimizers.schedules.ExponentialDecay(1e-2, 3, 0.5)
    ),
}


def of_vectors():
    couplings = [Coupling(MLP([8]), swap=bool(i)) for i in range(2)]
    flow = flowkit.Flow(flowkit.bijectors.Chain(couplings))
    flow.build((None, 3))
    return flow
