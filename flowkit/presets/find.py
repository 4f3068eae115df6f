"""Find the folder of a preset on this machine."""

import os
from pathlib import Path

from flowkit._shipped import closest, preset_folders, shipped_preset
from flowkit.presets.errors import PresetError
from flowkit.presets.folder import is_preset
from flowkit.presets.hub import SCHEME, download


def find_preset(preset: str | os.PathLike[str]) -> Path:
    """Return the folder of `preset`: a folder, a name such as "glow/digits", or "hf://user/name", which is downloaded.

    A folder that holds a preset comes before a name that flowkit knows; "./glow/digits" is always a folder.
    Raises PresetError if there is none, ConnectionError if a download fails.

    >>> find_preset("glow/digits").name
    'digits'
    """
    name = os.fspath(preset)
    if name.startswith(SCHEME):
        return download(name)
    folder = os.path.expanduser(name)
    if not is_preset(folder) and (shipped := shipped_preset(name.rstrip("/"))) is not None:
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
