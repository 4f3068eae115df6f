"""`flowkit train | sample | evaluate | interpolate | manipulate | convert | preset | check | info`, without Python.

Importing this imports neither Keras nor an engine: `--backend` comes first.
"""

from flowkit.cli.entry import main, script

__all__ = ["main", "script"]
