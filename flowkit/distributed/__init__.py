"""Several processes that train one model: one line before the model is made, started by a launcher.

    import flowkit
    flowkit.distributed.start()

Each process trains on its own rows, and all have the same weights after each step. See docs/scaling.md.
"""

from flowkit.distributed.failed import ProcessFailed, ProcessLost
from flowkit.distributed.group import Launch, barrier, gather, is_main, mine, rank, start, stop, world
from flowkit.distributed.model_parallel import model_parallel

__all__ = [
    "Launch",
    "ProcessFailed",
    "ProcessLost",
    "barrier",
    "gather",
    "is_main",
    "mine",
    "model_parallel",
    "rank",
    "start",
    "stop",
    "world",
]
