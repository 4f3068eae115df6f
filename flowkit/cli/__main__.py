"""`python -m flowkit.cli` is `flowkit`."""

from flowkit.cli import script

script()
