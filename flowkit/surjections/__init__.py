"""Layers that forget something in one direction, and draw it anew in the other."""

from flowkit.surjections.augment import Augment
from flowkit.surjections.dequantize_columns import DequantizeColumns
from flowkit.surjections.slice import Slice

__all__ = ["Augment", "DequantizeColumns", "Slice"]
