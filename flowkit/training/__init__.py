"""Callbacks and optimizers for `fit`: schedules, a guard against bad steps, exact resume, pictures, logs."""

from flowkit.training.atomic import atomic_path
from flowkit.training.checkpoint import CheckpointError
from flowkit.training.guard import GuardedOptimizer, StopWhenDiverged, TrainingDiverged
from flowkit.training.log import CSVLog, Log, read_log
from flowkit.training.optimizing import GlowAdamax, WarmUp, WarmUpCosine, averaged_weights
from flowkit.training.pictures import (
    ImageGrid,
    SampleGrid,
    enlarged,
    image_grid,
    sample_grid,
    save_curves,
    save_pairs,
    save_png,
    save_quantiles,
)
from flowkit.training.progress import ProgressBar
from flowkit.training.resume import Resume, TrainingStopped
from flowkit.training.validation import Validation

__all__ = [
    "CSVLog",
    "CheckpointError",
    "GlowAdamax",
    "GuardedOptimizer",
    "ImageGrid",
    "Log",
    "ProgressBar",
    "Resume",
    "SampleGrid",
    "StopWhenDiverged",
    "TrainingDiverged",
    "TrainingStopped",
    "Validation",
    "WarmUp",
    "WarmUpCosine",
    "atomic_path",
    "averaged_weights",
    "enlarged",
    "image_grid",
    "read_log",
    "sample_grid",
    "save_curves",
    "save_pairs",
    "save_png",
    "save_quantiles",
]
