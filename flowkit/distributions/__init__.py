"""Base densities: what the latents of a fitted flow follow."""

import flowkit._engine_found  # noqa: F401
from flowkit.distributions.normal import Normal

__all__ = ["Normal"]
