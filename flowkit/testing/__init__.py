"""The contract checker: point it at a bijector and learn which promises it breaks, with the smallest failing case.

Needs Hypothesis and pytest: in flowkit's clone run `pip install -e '.[testing]'`.
"""

try:
    import hypothesis  # noqa: F401
    import pytest  # noqa: F401
except ImportError as error:
    from flowkit._engine import pip_install

    raise ImportError(
        f"flowkit.testing needs {error.name}: {pip_install('testing')}", name=error.name
    ) from None

from flowkit.testing.adapters import adapt
from flowkit.testing.checker import check_bijector
from flowkit.testing.densities import check_distribution
from flowkit.testing.examples import Example
from flowkit.testing.flows import check_flow
from flowkit.testing.parametrize import Case, parametrize_bijectors
from flowkit.testing.processes import check_parity
from flowkit.testing.report import BrokenPromise, Report
from flowkit.testing.strategies import DrawnFlow
from flowkit.testing.subject import randomize

__all__ = [
    "BrokenPromise",
    "Case",
    "DrawnFlow",
    "Example",
    "Report",
    "adapt",
    "check_bijector",
    "check_distribution",
    "check_flow",
    "check_parity",
    "parametrize_bijectors",
    "randomize",
]
