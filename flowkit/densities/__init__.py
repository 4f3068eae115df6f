"""Draws and normalisers of densities that are known up to a constant, without gradients."""

from flowkit.densities.evidence import evidence
from flowkit.densities.sampling import DensityDraws, sample_density

__all__ = ["DensityDraws", "evidence", "sample_density"]
