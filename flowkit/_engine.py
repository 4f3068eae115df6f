"""Choose the backend that Keras will run on. Imports neither Keras nor a backend."""

import importlib.util
import os
import sys

ENGINES = ("jax", "torch", "tensorflow")  # in the order of preference
_NUMPY = "numpy"  # scores and samples only; Keras borrows its convolutions from JAX


def installed(package):
    """Return True if `package` can be imported; does not import it."""
    return importlib.util.find_spec(package) is not None


def pip_install(extra):
    """Return the command that installs an extra of flowkit, which is on no index yet, for an error."""
    return f"in flowkit's clone run pip install -e '.[{extra}]'"


def choose_engine():
    """Set `KERAS_BACKEND` to the first installed backend, unless it is set or Keras has started."""
    if os.environ.get("KERAS_BACKEND") or "keras" in sys.modules:
        return
    for backend in ENGINES:
        if installed(backend):
            os.environ["KERAS_BACKEND"] = backend
            return


def require_engine():
    """Raise an ImportError that says what to install, if the chosen backend is missing."""
    if "keras" in sys.modules:
        return
    backend = os.environ.get("KERAS_BACKEND")
    if not backend:
        raise ImportError(
            "flowkit: got no backend to run on, expected one of jax, torch or tensorflow. "
            "Install one with `pip install jax`, `pip install torch` or `pip install tensorflow`."
        )
    if backend not in (*ENGINES, _NUMPY):
        raise ImportError(
            f"KERAS_BACKEND: got {backend!r}, expected one of {', '.join(ENGINES)}, {_NUMPY}. Set it to one of them."
        )
    package = "jax" if backend == _NUMPY else backend
    if not installed(package):
        found = [name for name in ENGINES if installed(name)]
        instead = f"or set KERAS_BACKEND to {' or '.join(found)}" if found else "or choose another backend"
        raise ImportError(
            f"KERAS_BACKEND={backend!r}, but {package} is not installed. Install it with "
            f"`pip install {package}`, {instead}."
        )


def run_on(backend, source, arguments, path):
    """Run `source` with `arguments` on `backend` in a new process; return it when it has finished.

    A process can have one backend only. `path` lists the folders in which it looks for modules.
    """
    import subprocess  # takes longer than all of `import flowkit`

    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": os.pathsep.join(dict.fromkeys(path))}
    source = f"from flowkit import engines; engines.spare_tensorflow(); {source}"
    command = [sys.executable, "-c", source, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
