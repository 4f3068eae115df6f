"""Trains a small Glow whole and split over the devices of meshes, in one process; writes what came of it to FOLDER.

XLA_FLAGS=--xla_force_host_platform_device_count=4 KERAS_BACKEND=jax python split_model.py FOLDER
"""

import sys
from pathlib import Path

import flowkit

# isort: split
import keras
import numpy as np

from flowkit import distributed, training, zoo

FOLDER = Path(sys.argv[1])
X = np.random.default_rng(0).normal(size=(32, 4, 4, 2)).astype("float32")


def train(name, shape=None):
    """Two epochs of four steps. `shape` of a mesh, (batches, parts of a kernel); None is one device."""
    distribution = None
    if shape is not None:
        devices = keras.distribution.list_devices()[: shape[0] * shape[1]]
        distribution = distributed.model_parallel(
            keras.distribution.DeviceMesh(shape, ("batch", "model"), devices)
        )
    keras.distribution.set_distribution(distribution)
    keras.utils.set_random_seed(0)
    flow = zoo.glow(levels=1, steps=2, width=8, input_shape=(4, 4, 2), n_bits=None)
    inner = training.GlowAdamax(1e-2, beta_2=0.75, use_ema=True, ema_momentum=0.5, global_clipnorm=5.0)
    flow.compile(training.GuardedOptimizer(inner))
    flow.adapt(X)
    flow.fit(flowkit.data.batches(X, batch_size=8), epochs=2, verbose=0)
    held = [*flow.variables, *flow.optimizer.variables]
    split = [v.path for v in held if v.value.addressable_shards[0].data.shape != v.value.shape]
    weights = np.concatenate([np.asarray(weight, "float64").ravel() for weight in flow.get_weights()])
    np.savez(FOLDER / name, weights=weights, split=split, log_prob=flow.log_prob(X))
    flow.save(FOLDER / f"{name}.keras")


def refused(shape, names, width):
    """What is said of a width that a mesh cannot share."""
    devices = keras.distribution.list_devices()
    try:
        mesh = keras.distribution.DeviceMesh(shape, names, devices)
        keras.distribution.set_distribution(distributed.model_parallel(mesh))
        zoo.glow(levels=1, steps=1, width=width, input_shape=(4, 4, 2))
    except ValueError as error:
        return str(error)


train("whole")
train("two", (2, 2))  # and two halves of each batch
train("four", (1, 4))
(FOLDER / "refused.txt").write_text(str(refused((1, 4), ("batch", "model"), 6)))
