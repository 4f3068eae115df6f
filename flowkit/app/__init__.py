"""The command line and recipes: `flowkit train | sample | evaluate | diagnose | compare | ...`.

Importing this imports neither Keras nor an engine, since `--backend` chooses one first.
"""

from flowkit.app.entry import main, script

__all__ = ["main", "script"]
