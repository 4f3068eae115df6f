"""`python -m flowkit` is `flowkit`."""

from flowkit.app.entry import script

script()
