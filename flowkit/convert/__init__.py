"""Weights from and to other implementations of Glow.

A ported flow has the densities of the original. Where an implementation deviates from the published
model, the difference is folded into the weights, which is exact; what cannot be is refused by name.
"""

from flowkit.convert.files import read_variables
from flowkit.convert.normflows import from_normflows
from flowkit.convert.openai import from_openai, to_openai
from flowkit.convert.rosinality import from_rosinality

__all__ = ["from_normflows", "from_openai", "from_rosinality", "read_variables", "to_openai"]
