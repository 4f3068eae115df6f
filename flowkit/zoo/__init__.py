"""Named architectures, one keyword-only function each, which returns a `Flow`; and trained ones by name."""

from flowkit.zoo._glow import glow
from flowkit.zoo.table_front import table_front
from flowkit.zoo.trained import load, pretrained

ARCHITECTURES = {"glow": glow}  # what a recipe may name

__all__ = ["ARCHITECTURES", "glow", "load", "pretrained", "table_front"]
