"""A command in several processes: the main one writes the files and the messages."""

import contextlib
import os
import warnings

import flowkit
from flowkit.app import failure, interrupt


def launched_others():
    """Return what a launcher says of this process and of the others that it has started; None without others."""
    from flowkit.distributed.launcher import launched

    return launched(os.environ)


def join():
    """Join the other processes that a launcher has started; alone, train on all devices that the engine sees."""

    try:
        flowkit.distributed.start()
    except NotImplementedError as error:  # an engine of one process
        raise failure.CommandError(str(error)) from error
    if flowkit.distributed.world() > 1:
        failure.process = flowkit.distributed.rank()
        if not flowkit.distributed.is_main():
            warnings.simplefilter("ignore")  # the main process prints the same


def main_alone():
    """End all but the first of the processes that a launcher has started, for a command of one process.

    Each would do all of it, and all would write the same files. The first one does not join the others.
    """
    launch = launched_others()
    if launch is None:
        return
    if launch.rank:
        raise failure.CommandError("", 0)
    failure.say(
        f"note: this command works in one process: of the {launch.processes} that {launch.launcher} has started the "
        "others have nothing to do"
    )


def alike(function):
    """Call `function()` in all processes, which may gather. An error in one ends all, and the main one prints it."""
    from flowkit.distributed import ProcessLost
    from flowkit.distributed.failed import failing_together

    try:
        with failing_together(failure.words):
            return function()
    except ProcessLost:
        raise
    except Exception as error:
        if flowkit.distributed.is_main():
            raise
        silent = failure.CommandError("", failure.words(error)[1])
        silent.told_to_all = True
        raise silent from error


def on_main(function):
    """Call `function()` in the main process alone. Its error ends the other processes silently."""

    alike(lambda: function() if flowkit.distributed.is_main() else None)


def share_signal():
    """Hand a signal that ends the command to the processes that it has not reached, or not yet."""
    from flowkit.distributed import ProcessLost

    if flowkit.distributed.world() > 1:
        with contextlib.suppress(ProcessLost):  # which changes nothing any more
            heard = flowkit.distributed.gather([interrupt.number() or 0]).max()
            interrupt.hear_of(int(heard) or None)
