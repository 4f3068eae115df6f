"""`python -m flowkit` is `flowkit`."""

from flowkit.cli.entry import script

script()
