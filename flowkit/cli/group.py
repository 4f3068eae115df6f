"""A command in several processes: the main one has the files and the word."""

import warnings

import numpy as np

from flowkit.cli import failure


def join():
    """Join the other processes that a launcher has started, if there are any."""
    from flowkit import distributed  # once the engine is chosen

    try:
        distributed.start()
    except NotImplementedError as error:  # an engine of one process
        raise failure.CommandError(str(error)) from error
    if distributed.world() > 1:
        failure.process = distributed.rank()
        if not distributed.is_main():
            warnings.simplefilter("ignore")  # the main process says the same


def on_main(function):
    """Call `function()` in the main process alone. What it raises there ends the others too, without a word."""
    from flowkit import distributed

    error = None
    if distributed.is_main():
        try:
            function()
        except Exception as raised:
            error = raised
    failed = distributed.gather(np.array([error is not None])).any()
    if error is not None:
        raise error
    if failed:
        raise failure.CommandError("")
