"""How good a flow is: where its bits go, level by level, and whether its posteriors are as wide as they should be."""

from flowkit.evaluation.calibration import rank_band, ranks, uniformity
from flowkit.evaluation.levels import level_bits

__all__ = ["level_bits", "rank_band", "ranks", "uniformity"]
