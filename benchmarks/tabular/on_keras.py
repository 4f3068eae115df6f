"""flowkit's families, on the engine that Keras runs on."""

import keras
import numpy as np
from tabular.budget import Best

import flowkit

ENGINE = keras.backend.backend()


def nsf(sizes):
    return flowkit.zoo.nsf(**_ours(sizes))


def nsf_autoregressive(sizes):
    return flowkit.zoo.nsf_autoregressive(**_ours(sizes))


def _ours(sizes):
    return {"layers": sizes.layers, "hidden": [sizes.width] * 2, "bins": sizes.bins}


def fitted(make, sizes, split, budget, seed):
    """(scores of the test rows, the best weights' validation score and step, how many weights)."""
    keras.utils.set_random_seed(seed)
    flow = make(sizes)
    rate = keras.optimizers.schedules.CosineDecay(budget.rate, budget.steps)
    adam = keras.optimizers.Adam(rate, epsilon=budget.epsilon, global_clipnorm=budget.clip)
    flow.compile(adam)
    flow.adapt(split.train)
    best, batches = Best(), budget.batches(len(split.train), seed)
    for start in range(0, budget.steps, budget.every):
        rows = batches[start : start + budget.every]
        flow.fit(split.train[rows.ravel()], batch_size=budget.batch, shuffle=False, verbose=0)
        best.offer(flow.log_prob(split.valid).mean(), start + len(rows), flow.get_weights)
    flow.set_weights(best.weights)
    return flow.log_prob(split.test), best, sum(int(np.prod(w.shape)) for w in flow.trainable_weights)
