"""Weights from and to other implementations: of Glow, of autoregressive flows and couplings.

A ported flow has the densities of the original. Where an implementation deviates from the published
model, the difference is folded into the weights, which is exact; what cannot be is refused by name.
"""

from flowkit.convert.nflows import from_nflows
from flowkit.convert.normflows import from_normflows
from flowkit.convert.openai import from_openai, to_openai
from flowkit.convert.rosinality import from_rosinality
from flowkit.convert.weights import read_variables
from flowkit.convert.zuko import from_zuko

__all__ = [
    "from_nflows",
    "from_normflows",
    "from_openai",
    "from_rosinality",
    "from_zuko",
    "read_variables",
    "to_openai",
]
