"""`flowkit info`: what a bug report needs."""

import platform
from importlib.metadata import PackageNotFoundError, version

import keras

import flowkit
from flowkit import backends


def run():
    for name, value in facts().items():
        print(f"{name:10} {value}")


def facts():
    """What there is, as text: versions, engine, devices, precision."""
    return {
        "flowkit": flowkit.__version__,
        "engine": f"{backends.name()} {backends.version()}",
        "devices": ", ".join(backends.devices()),
        "precision": keras.config.dtype_policy().name,
        "keras": keras.__version__,
        "numpy": _version("numpy"),
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def _version(package):
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
