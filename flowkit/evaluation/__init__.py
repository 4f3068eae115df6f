"""Numbers about a flow: the bits of each level, and the calibration of its posteriors."""

from flowkit.evaluation.calibration import rank_band, ranks, uniformity
from flowkit.evaluation.levels import level_bits

__all__ = ["level_bits", "rank_band", "ranks", "uniformity"]
