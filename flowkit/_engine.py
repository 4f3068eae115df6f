"""Which engine Keras will run on. Imports neither Keras nor an engine."""

import importlib.util
import os
import sys

ENGINES = ("jax", "torch", "tensorflow")  # in the order of preference

# Keras's numpy engine borrows its convolutions from JAX.
_NEEDS = {"jax": "jax", "torch": "torch", "tensorflow": "tensorflow", "numpy": "jax"}


def installed(package):
    """True if `package` can be imported; does not import it."""
    return importlib.util.find_spec(package) is not None


def choose_engine():
    """Set `KERAS_BACKEND` to the first installed engine, unless it is set or Keras has started."""
    if os.environ.get("KERAS_BACKEND") or "keras" in sys.modules:
        return
    for engine in ENGINES:
        if installed(engine):
            os.environ["KERAS_BACKEND"] = engine
            return


def require_engine():
    """Raise an ImportError that says what to install, if the chosen engine is missing."""
    if "keras" in sys.modules:
        return
    engine = os.environ.get("KERAS_BACKEND")
    if not engine:
        raise ImportError(
            "flowkit found no engine to run on: expected one of jax, torch or tensorflow. "
            "Install one with `pip install jax`, `pip install torch` or `pip install tensorflow`."
        )
    package = _NEEDS.get(engine)
    if package is None:
        raise ImportError(
            f"KERAS_BACKEND={engine!r} is not an engine that flowkit knows: expected one of "
            f"{', '.join(_NEEDS)}.{_did_you_mean(engine)}"
        )
    if not installed(package):
        found = [name for name in ENGINES if installed(name)]
        instead = f"or set KERAS_BACKEND to {' or '.join(found)}" if found else "or choose another engine"
        raise ImportError(
            f"KERAS_BACKEND={engine!r}, but {package} is not installed. Install it with "
            f"`pip install {package}`, {instead}."
        )


def run_on(engine, source, arguments, path):
    """Run `source` with `arguments` on `engine` in a new process; return it when it has finished.

    A process can have one engine only. `path` lists the folders in which it looks for modules.
    """
    import subprocess  # takes longer than all of `import flowkit`

    environment = {**os.environ, "KERAS_BACKEND": engine, "PYTHONPATH": os.pathsep.join(dict.fromkeys(path))}
    source = f"from flowkit import engines; engines.spare_tensorflow(); {source}"
    command = [sys.executable, "-c", source, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def _did_you_mean(engine):
    import difflib  # for this message alone: `import flowkit` is to take no time

    near = difflib.get_close_matches(engine.lower().removeprefix("py"), _NEEDS, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""
