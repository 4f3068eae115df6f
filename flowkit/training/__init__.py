"""What goes on around `fit`: schedules, a guard against bad steps, exact resume, pictures, logs."""

from flowkit.training.averaging import averaged_weights
from flowkit.training.guard import GuardedOptimizer, StopWhenDiverged, TrainingDiverged
from flowkit.training.resume import CheckpointError, Resume
from flowkit.training.schedules import WarmUp, WarmUpCosine

__all__ = [
    "CheckpointError",
    "GuardedOptimizer",
    "Resume",
    "StopWhenDiverged",
    "TrainingDiverged",
    "WarmUp",
    "WarmUpCosine",
    "averaged_weights",
]
