"""A group of processes that train one model, on engines where one process trains it."""

import contextlib

import keras


def join(address, count, rank, local_rank, seconds):
    """Join the group of `count` processes that meets at `address` ("host:port"); wait `seconds` for the others.

    `address` None leaves the meeting to the launcher. `local_rank` is the number among the processes of this host; None
    if it has all devices of the host.
    """
    raise NotImplementedError(
        f"several processes train one model on PyTorch and JAX, received a group of {count} on another engine: set "
        "KERAS_BACKEND to torch or jax, or start one process."
    )


def leave():
    """Leave the group; the others are waited for."""


def processes():
    """How many processes have joined to train one model."""
    return 1


def process_rank():
    """The number of this process in its group, from 0."""
    return 0


def exchange(data):
    """The bytes that each process gives, in the order of their ranks."""
    return [data]


def copy_from_main(variables):
    """Give `variables` the values that they have in process 0, if each process has its own."""


def summed(tensors):
    """The tensors added up over the processes, if a tensor is not that of all of them already."""
    return tensors


def left_to_main(variables):
    """Set `variables`, sums of which each process has its own, to 0 in all but process 0, which has those of all."""


def drawing_apart(states):
    """A scope in which processes draw numbers of their own from seeds that are the same in all, given their states.

    Process 0 draws what the seeds say. Nothing changes if one program draws for all.
    """
    return contextlib.nullcontext()


def draw_alone(draw, layer, seed):
    """`draw(generator)`, with a `SeedGenerator` of `seed`, made of this process's own copy of `layer`'s weights.

    So no other process has to draw at the same time.
    """
    return draw(keras.random.SeedGenerator(seed, name="latents"))


def use_devices():
    """Spread batches over all devices that the engine sees, if one process of it can."""


def trains_apart():
    """Whether processes have joined, but Keras would train a model in each of them."""
    return False


def is_lost(error):
    """Whether `error` says that another process does not answer any more."""
    return False
