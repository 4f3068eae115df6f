"""Making flowkit's layers known to `keras.saving.load_model` without importing Keras first."""

import importlib
import importlib.util
import sys

from flowkit._engine import require_engine

_MODULES = (
    "flowkit.zoo",
    "flowkit.bijectors",
    "flowkit.conditioners",
    "flowkit.objectives",
    "flowkit.surjections",
    "flowkit.tables",
    "flowkit.training",
)


def register_with_keras():
    """Register now if Keras is loaded, else as soon as it is.

    `import flowkit` must import no engine, and Keras imports one; yet a script that imports first flowkit,
    then keras, expects `keras.saving.load_model("flow.keras")` to find our classes.
    """
    if "keras" in sys.modules:
        register_layers()
    else:
        sys.meta_path.insert(0, _AfterKeras())


def register_layers() -> None:
    """Import the modules whose layers a saved flow can contain."""
    for module in _MODULES:
        importlib.import_module(module)


class _AfterKeras:
    """Finds Keras as others do, and registers flowkit's layers once Keras has run."""

    def find_spec(self, name, path=None, target=None):
        if name != "keras":
            return None
        require_engine()  # here, so that whichever room is imported first says what to install
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec("keras")
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def execute_and_register(module):
            execute(module)
            # If a module of flowkit's own is what asked for Keras, it is half imported: its layers register as it goes
            # on, and those of other modules when a flow is loaded (flow/saving.py).
            if not any(
                name.startswith("flowkit.") and not name.startswith("flowkit._") for name in sys.modules
            ):
                register_layers()

        spec.loader.exec_module = execute_and_register
        return spec
