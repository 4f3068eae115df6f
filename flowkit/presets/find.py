"""From what the user calls a preset to a folder on this machine."""

import os
from pathlib import Path

from flowkit._shipped import closest, preset_folders
from flowkit.presets.errors import PresetError
from flowkit.presets.hub import SCHEME, download


def find_preset(preset: str | os.PathLike[str]) -> Path:
    """The folder of `preset`: a folder, a name such as "glow/digits", or "hf://user/name", which is downloaded.

    Raises PresetError if there is none.

    >>> find_preset("glow/digits").name
    'digits'
    """
    name = os.fspath(preset)
    if name.startswith(SCHEME):
        return download(name)
    if os.path.isdir(name):
        return Path(name)
    known = preset_folders()
    if name in known:
        return known[name]
    if os.path.exists(name):
        raise PresetError(f"{name}: expected the folder of a preset, found a file.")
    raise PresetError(
        f"there is no preset {name!r}: expected a folder, hf://user/name, or a name that comes with flowkit; the "
        f"nearest are {closest(name, known)}."
    )
