"""The flow: a bijector and a base density, as one model that trains, scores, samples and is saved."""

from flowkit.flows.flow import Flow
from flowkit.flows.labelled import LabelledFlow

__all__ = ["Flow", "LabelledFlow"]
