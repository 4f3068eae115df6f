"""Imported first by every room that needs Keras: where no engine is, an ImportError with the remedy.

`flowkit.zoo` is guarded by the front door; `import flowkit.zoo` does not pass through it.
"""

from flowkit._engine import require_engine

require_engine()
