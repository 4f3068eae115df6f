"""`python -m flowkit.cli` is `flowkit`."""

from flowkit.cli.entry import script

script()
