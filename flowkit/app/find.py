"""Recipes and runs by name. Imports neither Keras nor an engine."""

from pathlib import Path

from flowkit._shipped import closest, preset_folders, recipe_files
from flowkit.app.failure import RecipeError

OWN = {
    "images": "a folder of pictures",
    "table": "a table such as a .csv file",
}  # recipes for data of one's own


def find(name: str) -> Path:
    """Return the path of a recipe: a file, or a name such as `glow/digits` among those of flowkit.

    Raises a RecipeError that lists the nearest names if there is none.
    """
    path, known = Path(name), recipe_files()
    if path.is_file():
        return path
    if name in known:
        return known[name]
    if path.suffix == ".toml" or path.exists():
        raise RecipeError(f"{name}: expected a recipe file, found {'a folder' if path.is_dir() else 'none'}")
    raise RecipeError(
        f"there is no recipe {name!r}; {closest(name, known)}. For a family of flows write a TOML file whose [model] "
        f'has name = "{name}".'
    )


def hint(path: Path) -> str:
    """Return what to do about `path`, which is no run: the end of a message."""
    name = path.as_posix()
    if name in recipe_files() and name not in preset_folders():
        return f"{name} is a recipe: `flowkit train {name}` makes a run of it"
    runs = [recipe.parent.as_posix() for recipe in path.parent.glob("*/recipe.toml")]
    return f"{closest(name, [*runs, *preset_folders()])}; `flowkit train` makes a run"
