"""Read a flow from a .keras file, or raise one line about what is wrong with it."""

import zipfile

import keras

import flowkit
import flowkit.zoo  # registers the classes that a file names
from flowkit.app.failure import CommandError
from flowkit.presets.errors import PresetError, reason
from flowkit.presets.untrusted import check_config


def read_flow(path):
    """Return the flow in the file at `path`; raise a CommandError if there is none, or it cannot be read."""
    check_file(path)
    try:
        check_config(path)
        flow = keras.saving.load_model(path)
    except PresetError as error:
        raise CommandError(str(error)) from error
    except Exception as error:  # a damaged or foreign file leads Keras to any
        raise CommandError(
            f"{path} cannot be loaded ({reason(error)}): it is damaged, or from another version than flowkit "
            f"{flowkit.__version__} and keras {keras.__version__}"
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
