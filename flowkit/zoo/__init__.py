"""Named architectures: one keyword-only function each, which returns a `Flow`."""

from flowkit.zoo._glow import glow

__all__ = ["glow"]
