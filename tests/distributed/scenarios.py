"""Trains small flows, in one process or as one of a group, and writes what came of it to FOLDER.

python scenarios.py FOLDER
"""

import sys
from pathlib import Path

from flowkit import distributed

distributed.start()

# isort: split
import keras  # noqa: E402
import numpy as np  # noqa: E402

from flowkit import data, training, zoo  # noqa: E402

FOLDER = Path(sys.argv[1])
RANK = distributed.rank()
X = np.random.default_rng(0).normal(size=(32, 4, 4, 2)).astype("float32")
LABELS = np.arange(32) % 3


def flow(**arguments):
    keras.utils.set_random_seed(0)
    made = zoo.glow(levels=1, steps=2, width=4, **{"input_shape": (4, 4, 2), "n_bits": None, **arguments})
    inner = training.GlowAdamax(1e-2, use_ema=True, global_clipnorm=5.0, gradient_accumulation_steps=2)
    made.compile(training.GuardedOptimizer(inner))
    return made


def resume(name, batches):
    path = FOLDER / f"{name}.npz"
    return training.Resume(path, batches=batches, writer=distributed.is_main())


class Remember(keras.callbacks.Callback):
    """What a callback is told, at steps and at the ends of epochs."""

    def __init__(self):
        super().__init__()
        self.losses = []

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(float(logs["loss"]))

    def on_epoch_end(self, epoch, logs=None):
        self.losses += [float(logs["loss"]), float(logs["nll"])]


class Poison(data.Batches):
    """A batch of which the rows of the last process are so large that its loss is no number."""

    def __getitem__(self, index):
        (x,) = super().__getitem__(index)
        if self.epoch == 1 and index == 1 and distributed.world() - 1 == RANK:
            x = x * np.float32(1e30)
        return (x,)


def train(name, flow, batches, until=(3,), adapt=True):
    if adapt:
        mine = distributed.mine(np.arange(len(X)))
        flow.adapt(X[mine], None if batches.context is None else LABELS[mine])
    told = Remember()
    guard = training.StopWhenDiverged(5)
    for epochs in until:
        checkpoint = resume(name, batches)
        checkpoint.load(flow)
        checkpoint.fit(flow, epochs, [guard, told])
    weights = np.concatenate([np.asarray(w, "float64").ravel() for w in flow.get_weights()])
    skipped = int(keras.ops.convert_to_numpy(training.guard.guarded(flow.optimizer).skipped))
    np.savez(FOLDER / f"{name}-{RANK}", weights=weights, losses=told.losses, skipped=skipped)


train("stored", flow(), data.batches(X, batch_size=8))
train("reversible", flow(backprop="reversible"), data.batches(X, batch_size=8))
train("nan", flow(), Poison(X, batch_size=8))
train("labels", flow(num_classes=3), data.batches(X, LABELS, batch_size=8))
train("resumed", flow(), data.batches(X, batch_size=8), until=(1, 3))

# What draws noise: the seed is stored once, and the rows of two processes do not get the same numbers
images = np.zeros((8, 4, 4, 2), "uint8")
noisy = flow(n_bits=8)
noisy.adapt(np.random.default_rng(1).integers(0, 256, (8 // distributed.world(), 4, 4, 2), dtype="uint8"))
state = keras.ops.convert_to_numpy(noisy.dequantize.noise.state)
seen = []
own = noisy.dequantize.noise_needs


class Noise(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        seen.append(keras.ops.convert_to_numpy(noisy.dequantize.noise.state).tolist())


noisy.fit(images[: 8 // distributed.world()], batch_size=4, epochs=1, verbose=0, callbacks=[Noise()])
after = keras.ops.convert_to_numpy(noisy.dequantize.noise.state)
np.savez(FOLDER / f"noise-{RANK}", before=state, inside=seen[0], after=after)

# Answers are each process's own affair
alone = flow()
alone.adapt(X[: 32 // distributed.world()])
np.savez(
    FOLDER / f"alone-{RANK}", log_prob=alone.log_prob(X[RANK : RANK + 3]), sample=alone.sample(2, seed=0)
)
print("done", flush=True)
