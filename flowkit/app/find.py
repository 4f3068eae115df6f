"""Recipes and runs by name. Imports neither Keras nor an engine."""

import difflib
from pathlib import Path

from flowkit._shipped import closest, preset_folders, recipe_files
from flowkit.app.failure import RecipeError

OWN = {
    "images": "a folder of pictures",
    "table": "a table such as a .csv file",
}  # recipes for data of one's own
_DATA = (".csv", ".tsv", ".parquet", ".npy", ".npz")
_OWN_DATA = (
    ". For a folder of pictures run `flowkit train images --data FOLDER`, for a table `flowkit train table --data FILE`"
    "; `flowkit list` names the recipes."
)


def find(name: str) -> Path:
    """Return the path of a recipe: a file, or a name such as `glow/digits` among those of flowkit.

    Raises a RecipeError that lists the nearest names if there is none.
    """
    path, known = Path(name), recipe_files()
    if path.is_file() and path.suffix.lower() not in _DATA:
        return path
    if name in known:
        return known[name]
    if is_path(name):
        got = "a folder" if path.is_dir() else "data" if path.exists() else "no file"
        raise RecipeError(f"{name}: got {got}, expected a recipe file" + _OWN_DATA * (path.suffix != ".toml"))
    family = (
        "" if "/" in name else f' For a family of flows write a TOML file whose [model] has name = "{name}".'
    )
    raise RecipeError(f"there is no recipe {name!r}; {closest(name, known)}.{family}")


def is_path(name: str) -> bool:
    """Return True if `name` is a path of the user's, and no misspelt name of flowkit's, such as glow/digit."""
    if Path(name).suffix or Path(name).exists() or name.startswith((".", "/", "~")) or name.endswith("/"):
        return True
    first, slash, _ = Path(name).as_posix().partition("/")
    families = {known.partition("/")[0] for known in recipe_files() if "/" in known}
    return bool(slash) and not difflib.get_close_matches(first, families, n=1)


def hint(path: Path) -> str:
    """Return what to do about `path`, which is no run: the end of a message."""
    name = path.as_posix()
    if name in recipe_files() and name not in preset_folders():
        return f"{name} is a recipe: `flowkit train {name}` makes a run of it"
    known = [recipe.parent.as_posix() for recipe in path.parent.glob("*/recipe.toml")]
    known += [] if is_path(name) else preset_folders()
    return f"{closest(name, known)}; `flowkit train` makes a run" if known else "`flowkit train` makes a run"
