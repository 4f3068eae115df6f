"""A group of processes that train one model, on engines where one process trains it."""

import contextlib

import keras


def join(address, count, rank, local_rank, seconds):
    """Join the group of `count` processes at `address` ("host:port"), and wait `seconds` for the others.

    `address` None lets the launcher connect them. `local_rank` is the number among the processes of this host; None
    if this process has all devices of the host.
    """
    raise NotImplementedError(
        f"several processes train one model on PyTorch and JAX, received a group of {count} on another engine: set "
        "KERAS_BACKEND to torch or jax, or start one process."
    )


def leave():
    """Leave the group, as all processes do now."""


def processes():
    """Return the number of processes that have joined to train one model."""
    return 1


def process_rank():
    """Return the number of this process in its group, from 0."""
    return 0


def exchange(data):
    """Return the bytes of each process, in the order of their ranks."""
    return [data]


def copy_from_main(variables):
    """Set `variables` to their values in process 0, if each process has its own."""


def summed(tensors):
    """Return the tensors, summed over the processes unless a tensor is shared by all of them."""
    return tensors


def left_to_main(variables):
    """Set `variables`, which hold sums over all processes, to 0 in all but process 0, if each process has its own."""


def drawing_apart(states):
    """Enter a scope in which each process draws its own numbers from seeds, `states`, that are the same in all.

    Process 0 draws as if it was alone. Nothing changes if one program draws for all.
    """
    return contextlib.nullcontext()


def draw_alone(draw, layer, seed):
    """Return `draw(generator)` with a `SeedGenerator` of `seed`, on this process's own copy of `layer`'s weights.

    No other process has to draw at the same time.
    """
    return draw(keras.random.SeedGenerator(seed, name="latents"))


def use_devices():
    """Spread batches over all devices that the engine sees, if one process of the engine can."""


def trains_apart():
    """Return True if processes have joined, but Keras would train a model in each of them."""
    return False


def is_lost(error):
    """Return True if `error` is an engine's about another process that has ended or does not answer."""
    return False
