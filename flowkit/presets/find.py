"""Find the folder of a preset on this machine."""

import os
from pathlib import Path

from flowkit._shipped import closest, preset_folders
from flowkit.presets.errors import PresetError
from flowkit.presets.folder import is_preset
from flowkit.presets.hub import SCHEME, download


def find_preset(preset: str | os.PathLike[str]) -> Path:
    """Return the folder of `preset`: a folder, a name such as "glow/digits", or "hf://user/name", which is downloaded.

    A name that comes with flowkit is that, unless a folder of this name holds a preset; "./glow/digits" is a folder
    alone. Raises PresetError if there is none.

    >>> find_preset("glow/digits").name
    'digits'
    """
    name = os.fspath(preset)
    if name.startswith(SCHEME):
        return download(name)
    folder = os.path.expanduser(name)
    if (shipped := shipped_preset(name)) is not None and not is_preset(folder):
        return shipped
    if os.path.isdir(folder):
        return Path(folder)
    if os.path.exists(folder):
        load = " keras.saving.load_model loads it." if folder.endswith(".keras") else ""
        raise PresetError(f"{name}: expected the folder of a preset, found a file.{load}")
    if os.path.isabs(folder) or name.startswith("."):
        raise PresetError(f"{name}: expected the folder of a preset, found none.")
    raise PresetError(
        f"there is no preset {name!r}: expected a folder, hf://user/name, or a name that comes with flowkit; "
        f"{closest(name, preset_folders())}."
    )


def shipped_preset(name: str) -> Path | None:
    """Return the folder of a preset that comes with flowkit, by its name; None for another name, and for a path."""
    return preset_folders().get(name.rstrip("/"))
