"""Base densities: what the latents of a fitted flow follow."""

from flowkit.distributions.normal import Normal

__all__ = ["Normal"]
