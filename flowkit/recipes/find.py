"""Where recipes are: files, and those that come with flowkit."""

from pathlib import Path

from flowkit._shipped import closest, recipe_files
from flowkit.recipes.schema import RecipeError


def find(name: str) -> Path:
    """The path of a recipe: a file, or a name such as `glow/digits` among those of flowkit.

    Raises a RecipeError that lists the nearest names if there is none.
    """
    path = Path(name)
    if path.is_file():
        return path
    known = available()
    if name in known:
        return known[name]
    if path.is_dir():
        raise RecipeError(f"{name or 'RECIPE'}: expected a recipe file, found a folder")
    if path.suffix == ".toml" or path.exists():
        raise RecipeError(f"{name}: expected a recipe file, found none there")
    raise RecipeError(f"there is no recipe {name!r}; the nearest are {closest(name, known)}")


def available() -> dict[str, Path]:
    """Name -> path of the recipes that come with flowkit."""
    return recipe_files()
