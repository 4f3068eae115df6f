"""Numbers about a flow: the bits of each level, the calibration of its posteriors, and the likeness of two samples."""

from flowkit.evaluation.calibration import rank_band, ranks, uniformity
from flowkit.evaluation.levels import level_bits
from flowkit.evaluation.two_samples import c2st

__all__ = ["c2st", "level_bits", "rank_band", "ranks", "uniformity"]
