"""Named architectures: one keyword-only function each, which returns a `Flow`."""

import flowkit._engine_found  # noqa: F401
from flowkit.zoo._glow import glow

__all__ = ["glow"]
