"""Read a flow from a .keras file, or raise one line about what is wrong with it."""

import json
import re
import zipfile

import keras

import flowkit
import flowkit.zoo  # registers the classes that a file names
from flowkit.app.failure import CommandError
from flowkit.presets import untrusted
from flowkit.presets.errors import PresetError, import_first, unregistered


def read_flow(path):
    """Return the flow in the file at `path`; raise a CommandError if there is none, or it cannot be read."""
    check_file(path)
    try:
        untrusted.check_file(path)
        flow = keras.saving.load_model(path)
    except PresetError as error:
        raise CommandError(str(error)) from error
    except Exception as error:  # what a damaged or foreign file leads Keras to
        if (unknown := unregistered(error)) is not None:
            raise CommandError(f"{path} cannot be loaded: {import_first(*unknown)}") from error
        here = {"flowkit": flowkit.__version__, "keras": keras.__version__}
        raise CommandError(
            f"{path} cannot be loaded ({_reason(error)}): it is damaged, or from another version (written with "
            f"{_listed(_versions(path))}, here are {_listed(here)})"
        ) from error
    if not isinstance(flow, flowkit.Flow):
        raise CommandError(f"{path}: expected a Flow, found a {type(flow).__name__}")
    return flow


def check_file(path):
    """Raise a CommandError if there is no .keras file at `path`."""
    if not path.is_file():
        raise CommandError(f"{path}: expected a .keras file, found {'a folder' if path.is_dir() else 'none'}")
    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            raise CommandError(
                f"{path}: expected a .keras file, received one that is damaged or something else"
            )


def _versions(path):
    """Return the versions that wrote the file, as far as it and the run's metrics beside it name them."""
    found = {}
    try:
        found["flowkit"] = json.loads((path.parent / "metrics.json").read_text(encoding="utf-8"))["flowkit"]
    except (OSError, ValueError, KeyError, TypeError):
        found["flowkit"] = "unknown"
    try:
        with zipfile.ZipFile(path) as file:
            found["keras"] = json.loads(file.read("metadata.json"))["keras_version"]
    except Exception:  # zipfile raises whatever a damaged file leads it to
        found["keras"] = "unknown"
    return found


def _listed(versions):
    return " and ".join(f"{name} {version}" for name, version in versions.items())


def _reason(error):
    """Return the first sentence of the innermost error: Keras repeats every config on the way to it."""
    told = str(error).split("Exception encountered: ")[-1]
    first = re.split(r"\.\s|\n", told.strip(), maxsplit=1)[0].rstrip(".")
    return first[:200] or type(error).__name__
