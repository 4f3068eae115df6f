"""A command in several processes: the main one has the files and the word."""

import os
import warnings

import numpy as np

from flowkit.cli import failure


def others():
    """What a launcher says of this process and of the others that it has started; None for no others."""
    from flowkit.distributed.launcher import launched

    return launched(os.environ)


def join():
    """Join the other processes that a launcher has started; alone, train on all devices that the engine sees."""
    from flowkit import distributed  # once the engine is chosen

    try:
        distributed.start()
    except NotImplementedError as error:  # an engine of one process
        raise failure.CommandError(str(error)) from error
    if distributed.world() > 1:
        failure.process = distributed.rank()
        if not distributed.is_main():
            warnings.simplefilter("ignore")  # the main process says the same


def main_alone():
    """End all but the first of the processes that a launcher has started, without a word, for a command of one.

    Each would do the whole of it, and all would write the same files. The first one does not join the others.
    """
    launch = others()
    if launch is None:
        return
    if launch.rank:
        raise failure.CommandError("", 0)
    failure.say(
        f"note: this command works in one process: of the {launch.processes} that {launch.launcher} has started the "
        "others have nothing to do"
    )


def alike(function):
    """`function()` in all processes. What all of them refuse the main one says; no other waits for one that failed."""
    from flowkit import distributed

    answer, error = None, None
    try:
        answer = function()
    except Exception as raised:
        error = raised
    failed = distributed.gather(np.array([error is not None]))
    if error is not None and (distributed.is_main() or not failed[0]):
        raise error
    if failed.any():
        raise failure.CommandError("")
    return answer


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
