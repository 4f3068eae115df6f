"""The flow that one process and two train, its data, and how it goes on from a checkpoint."""

import functools

import keras
import numpy as np

from flowkit import distributed, training, zoo
from flowkit.training.checkpoint import assign, state, variables

X = np.random.default_rng(0).normal(size=(32, 4, 4, 2)).astype("float32")
LABELS = np.arange(32) % 3


def flow(*, scaled=False, **arguments):
    """A small Glow at its start. Two of the same arguments are one, put back there: JAX compiles its step once."""
    made, start = _made(tuple(sorted(arguments.items())), scaled)
    assign("start", start, variables(made))
    return made


@functools.cache
def _made(arguments, scaled):
    keras.utils.set_random_seed(0)
    sizes = {"input_shape": (4, 4, 2), "n_bits": None} | dict(arguments)
    made = zoo.glow(levels=1, steps=1, width=4, **sizes)
    inner = training.GlowAdamax(
        1e-2, beta_2=0.75, use_ema=True, ema_momentum=0.5, global_clipnorm=5.0, gradient_accumulation_steps=2
    )
    guarded = training.GuardedOptimizer(inner)
    made.compile(keras.optimizers.LossScaleOptimizer(guarded) if scaled else guarded)
    return made, state(made, [])


def go_on(made, path, batches, epochs, callbacks=()):
    """Train `made` from the checkpoint at `path`, if there is one, until so many epochs are done, with a log beside."""
    checkpoint = training.Resume(path, batches=batches, writer=distributed.is_main())
    checkpoint.load(made)
    checkpoint.fit(made, epochs, [*callbacks, training.CSVLog(path.with_suffix(".csv"))])
