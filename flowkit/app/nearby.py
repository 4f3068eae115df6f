"""Suggestions for a run that is not there."""

import difflib
from pathlib import Path

from flowkit._shipped import preset_folders, recipe_files

_WITHOUT_DIGITS = str.maketrans("", "", "0123456789")


def hint(path):
    """Return what to do about `path`, which is no run: the end of a message."""
    name = path.as_posix()
    presets = sorted(preset_folders())
    trained = ", ".join(presets)
    if name in presets:  # as ./glow/digits, which is a folder of that path alone
        return f"did you mean {name}, which comes with flowkit?"
    if name in recipe_files():
        made = Path("runs") / name.replace("/", "-")
        if (made / "recipe.toml").is_file():
            return f"{name} is a recipe, which was trained into {made}: give that"
        return (
            f"{name} is a recipe, and no trained flow of it is here: `flowkit train {name}` makes one; trained already "
            f"are {trained}"
        )
    if meant := meant_by(path):
        return f"did you mean {meant}?"
    if near := difflib.get_close_matches(name, presets, n=1, cutoff=0.7):
        return f"did you mean {near[0]}?"
    return f"`flowkit train` makes one; trained already are {trained}"


def meant_by(path):
    """Return the run whose path is nearly `path`, which does not exist; None without one.

    Names that differ in their digits alone, as of runs with several seeds, do not count as near.
    """
    missing, rest = path, list[str]()
    while not missing.parent.is_dir():
        missing, rest = missing.parent, [missing.name, *rest]
    for near in difflib.get_close_matches(missing.name, _folders(missing.parent), n=3, cutoff=0.7):
        run = missing.parent.joinpath(near, *rest)
        alike = near.translate(_WITHOUT_DIGITS) == missing.name.translate(_WITHOUT_DIGITS)
        if not alike and abs(len(near) - len(missing.name)) <= 1 and (run / "recipe.toml").is_file():
            return run
    return None


def runs_beside(path, most=3):
    """Return the newest runs in the folder that `path` would lie in."""
    recipes_there = [path.parent / name / "recipe.toml" for name in _folders(path.parent)]
    there = [file for file in recipes_there if file.is_file()]
    return [file.parent for file in sorted(there, key=lambda file: file.stat().st_mtime, reverse=True)[:most]]


def _folders(parent):
    try:
        return [path.name for path in parent.iterdir() if path.is_dir()]
    except OSError:  # one that may not be looked into
        return []
