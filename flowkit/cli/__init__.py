"""`flowkit train | sample | evaluate | diagnose | compare | interpolate | preset | ...`: without writing Python.

Importing this imports neither Keras nor an engine: `--backend` comes first.
"""

from flowkit.cli.entry import main, script

__all__ = ["main", "script"]
