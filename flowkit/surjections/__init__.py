"""Layers that forget something in one direction, and draw it anew in the other."""

import keras

from flowkit.surjections.channels import Augment, Slice
from flowkit.surjections.dequantize_columns import DequantizeColumns
from flowkit.surjections.entries import Absolute, MaxPool, Sort, StochasticPermute

__all__ = ["Absolute", "Augment", "DequantizeColumns", "MaxPool", "Slice", "Sort", "StochasticPermute"]

# Keras then finds these classes in files.
for _name in __all__:
    keras.saving.register_keras_serializable("flowkit")(globals()[_name])
