"""The flow: a bijector and a base density, as one model that trains, scores, samples and is saved."""

from flowkit.flow.flow import Flow

__all__ = ["Flow"]
