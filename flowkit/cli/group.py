"""A command in several processes: the main one has the files and the word."""

import contextlib
import os
import warnings

from flowkit.cli import failure, interrupt


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
    """`function()` in all processes, which may gather. What one of them refuses ends all, and the main one says it."""
    from flowkit import distributed
    from flowkit.distributed import ProcessLost
    from flowkit.distributed.failed import failing_together

    try:
        with failing_together(failure.words):
            return function()
    except ProcessLost:
        raise
    except Exception as error:
        if distributed.is_main():
            raise
        silent = failure.CommandError("", failure.words(error)[1])
        silent.told_to_all = True
        raise silent from error


def on_main(function):
    """Call `function()` in the main process alone. What it raises there ends the others too, without a word."""
    from flowkit import distributed

    alike(lambda: function() if distributed.is_main() else None)


def share_signal():
    """Where all end because of a signal: all have heard it then, also those that it has not reached, or not yet."""
    from flowkit import distributed
    from flowkit.distributed import ProcessLost

    if distributed.world() > 1:
        with contextlib.suppress(ProcessLost):  # which changes nothing any more
            heard = distributed.gather([interrupt.number() or 0]).max()
            interrupt.hear_of(int(heard) or None)
