"""Several processes that train one model: one line before the model is made, and a launcher that starts them.

    import flowkit
    flowkit.distributed.start()

Each process trains on rows of its own, and all have the same weights after each step. See docs/scaling.md.
"""

from flowkit.distributed.failed import ProcessFailed
from flowkit.distributed.group import barrier, gather, is_main, mine, rank, start, stop, world
from flowkit.distributed.launcher import Launch
from flowkit.distributed.lost import ProcessLost
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
