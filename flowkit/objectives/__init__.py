"""Objectives: what training minimises, for `flow.compile(optimizer, loss=...)`."""

import keras

from flowkit.objectives.flow_matching import FlowMatching
from flowkit.objectives.objective import MaximumLikelihood, Objective
from flowkit.objectives.reverse_kl import ReverseKL

__all__ = ["FlowMatching", "MaximumLikelihood", "Objective", "ReverseKL"]

# Keras then finds these classes in files.
for _name in __all__:
    keras.saving.register_keras_serializable("flowkit")(globals()[_name])
