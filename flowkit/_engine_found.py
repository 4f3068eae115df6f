"""Imported first by every room that needs Keras: an ImportError that says what to install, where no engine is.

`flowkit.zoo` is guarded by the front door; `import flowkit.zoo` does not pass through it.
"""

from flowkit._engine import require_engine

require_engine()
