"""Posteriors of a simulator's parameters: simulation-based inference by flows."""

from flowkit.posteriors.loading import load_posterior
from flowkit.posteriors.nle import LikelihoodPosterior
from flowkit.posteriors.npe import Posterior
from flowkit.posteriors.training import posterior

__all__ = ["LikelihoodPosterior", "Posterior", "load_posterior", "posterior"]
