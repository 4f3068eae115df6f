"""--backend, before Keras is imported."""

import importlib
import os
import sys

from flowkit._engine import ENGINES, require_engine
from flowkit.cli import group, interrupt
from flowkit.cli.failure import CommandError
from flowkit.cli.freed_memory import keep_freed_memory


def use(backend, *, trains=False, shares=False):
    """Choose the engine. Keras reads the choice when it is first imported, so it comes before that.

    What `trains`, or `shares` its work, joins the other processes that a launcher has started, which comes before the
    engine does anything. Of any other command the main process is alone from here on.
    """
    if backend is not None:
        if backend not in ENGINES:
            raise CommandError(f"--backend: expected one of {', '.join(ENGINES)}, received {backend!r}")
        if "keras" in sys.modules and os.environ.get("KERAS_BACKEND") != backend:
            raise CommandError(f"--backend {backend}: Keras already runs on another engine in this process")
        os.environ["KERAS_BACKEND"] = backend
    if os.environ.get("KERAS_BACKEND") != "tensorflow":
        # `convert` imports TensorFlow for its checkpoints, and TensorFlow talks about oneDNN.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    require_engine()
    keep_freed_memory()
    with interrupt.later():
        engines = importlib.import_module("flowkit.engines")
        engines.spare_tensorflow()
    if trains or (shares and group.others()):
        group.join()
    elif not shares:
        group.main_alone()
    with interrupt.later():
        engines.engine.devices()  # the engine, and what it does when first asked
