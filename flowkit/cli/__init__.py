"""`flowkit train | sample | evaluate | interpolate | manipulate | info`, for those who would rather not write Python.

Importing this imports neither Keras nor an engine: `--backend` comes first.
"""

from flowkit.cli.app import main

__all__ = ["main"]
