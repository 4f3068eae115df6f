"""Other libraries' bijectors, in flowkit's contract."""

from flowkit.testing.adapters.adapt import adapt

__all__ = ["adapt"]
