"""The contract checker: point it at a bijector and learn which promises it breaks, with the smallest failing case.

Needs Hypothesis: `pip install 'keras-flowkit[testing]'`.
"""

from flowkit.testing.check import check_bijector
from flowkit.testing.example import Example
from flowkit.testing.randomize import randomize
from flowkit.testing.report import BrokenPromise, Report

__all__ = ["BrokenPromise", "Example", "Report", "check_bijector", "randomize"]
