"""The flow: a bijector and a base density, as one model that trains, scores, samples and is saved."""

from flowkit.flow.flow import Flow
from flowkit.flow.labelled import LabelledFlow
from flowkit.flow.table import TableFlow

__all__ = ["Flow", "LabelledFlow", "TableFlow"]
