"""`flowkit train | sample | evaluate | interpolate | convert | info`, for those who would rather not write Python.

Importing this imports neither Keras nor an engine: `--backend` comes first.
"""

from flowkit.cli.app import main

__all__ = ["main"]
